package io.rendezvous;

import com.google.protobuf.ByteString;
import io.rendezvous.internal.Shown;
import io.rendezvous.v1.DataType;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Refuses frames that contradict themselves, by the column's name (P40 to P51). */
final class FrameCheck {
    private static final int MAX_RANK = 8;

    private FrameCheck() {}

    static void check(io.rendezvous.v1.Frame frame) {
        long rows = frame.getRows();
        if (rows < 0) {
            throw new InvalidFrameException("rows is " + rows + ": it must not be negative", Map.of("rows", rows));
        }
        Set<String> seen = new HashSet<>();
        List<io.rendezvous.v1.Column> columns = frame.getColumnsList();
        for (int index = 0; index < columns.size(); index++) {
            io.rendezvous.v1.Column column = columns.get(index);
            checkName(column.getName(), index, seen);
            checkColumn(column, rows);
        }
    }

    /** Product of the shape, after the check; it fits an int because the payload's length did. */
    static int elementsPerRow(io.rendezvous.v1.Column column) {
        long elements = 1;
        for (long dimension : column.getShapeList()) {
            elements *= dimension;
        }
        return (int) Math.min(elements, Integer.MAX_VALUE);
    }

    static String shown(String name) {
        return Shown.value(name);
    }

    static String shown(List<String> names) {
        return Shown.names(names);
    }

    private static void checkName(String name, int index, Set<String> seen) {
        if (name.isEmpty()) {
            throw new InvalidFrameException(
                    "column " + index + " has no name: name it", Map.of("column", "", "index", index));
        }
        if (!seen.add(name)) {
            String shown = shown(name);
            throw new InvalidFrameException(
                    "column '" + shown + "' (number " + index + ") is there twice: names must be unique",
                    Map.of("column", shown, "index", index));
        }
    }

    private static void checkColumn(io.rendezvous.v1.Column column, long rows) {
        ColumnType type = ColumnType.of(column.getTypeValue());
        if (type == null) {
            throw refuse(column, "type " + column.getTypeValue() + " is unknown", "type", column.getTypeValue());
        }
        checkShape(column);
        long elements = product(rows, column.getShapeList());
        switch (type) {
            case STRING -> checkPayload(column, type, rows, elements, column.getStringsCount());
            case BYTES -> checkPayload(column, type, rows, elements, column.getBlobsCount());
            default ->
                checkPayload(
                        column,
                        type,
                        rows,
                        multiply(elements, type.width()),
                        column.getValues().size());
        }
        if (type == ColumnType.BOOL) {
            checkBooleans(column);
        }
        if (!column.getMissing().isEmpty()) {
            checkBitmap(column, rows);
        }
    }

    private static void checkShape(io.rendezvous.v1.Column column) {
        List<Long> shape = column.getShapeList();
        if (shape.size() > MAX_RANK) {
            throw refuse(
                    column,
                    "shape has " + shape.size() + " dimensions: at most " + MAX_RANK + " are allowed",
                    "limit",
                    MAX_RANK,
                    "actual",
                    shape.size());
        }
        for (long dimension : shape) {
            if (dimension < 0) {
                throw refuse(column, "shape " + shape + " has a negative dimension", "shape", shape);
            }
        }
    }

    private static void checkPayload(
            io.rendezvous.v1.Column column, ColumnType type, long rows, long expected, long actual) {
        String carrier = type == ColumnType.STRING ? "strings" : type == ColumnType.BYTES ? "blobs" : "values";
        checkAbsent(column, type, carrier, "values", column.getValues().size(), "bytes");
        checkAbsent(column, type, carrier, "strings", column.getStringsCount(), "elements");
        checkAbsent(column, type, carrier, "blobs", column.getBlobsCount(), "elements");
        if (actual != expected) {
            String unit = type.width() > 0 ? "bytes" : "elements";
            String each = type.width() > 0 ? " of " + type.width() + " bytes" : "";
            String needed = expected == Long.MAX_VALUE ? "more than can be sent" : expected + " " + unit;
            throw refuse(
                    column,
                    "`" + carrier + "` has " + actual + " " + unit + ": " + rows + " rows of shape "
                            + column.getShapeList() + ", type " + type + each + ", need " + needed,
                    "expected",
                    expected,
                    "actual",
                    actual);
        }
    }

    private static void checkAbsent(
            io.rendezvous.v1.Column column, ColumnType type, String carrier, String other, int actual, String unit) {
        if (actual != 0 && !carrier.equals(other)) {
            throw refuse(
                    column,
                    "type " + type + " is carried in `" + carrier + "`, but `" + other + "` has " + actual + " " + unit,
                    "carrier",
                    carrier,
                    "actual",
                    actual);
        }
    }

    private static void checkBooleans(io.rendezvous.v1.Column column) {
        ByteString values = column.getValues();
        for (int index = 0; index < values.size(); index++) {
            int octet = values.byteAt(index) & 0xff;
            if (octet > 1) {
                throw refuse(
                        column,
                        "BOOL element " + index + " is the byte " + octet + ": it must be 0 or 1",
                        "element",
                        index);
            }
        }
    }

    private static void checkBitmap(io.rendezvous.v1.Column column, long rows) {
        ByteString missing = column.getMissing();
        long expected = rows / 8 + (rows % 8 == 0 ? 0 : 1);
        if (missing.size() != expected) {
            throw refuse(
                    column,
                    "missing bitmap has " + missing.size() + " bytes: " + rows + " rows need " + expected,
                    "expected",
                    expected,
                    "actual",
                    missing.size());
        }
        if (Bits.spareSet(missing, rows)) {
            throw refuse(
                    column,
                    "missing bitmap has bits set beyond row " + (rows - 1) + ": spare bits must be 0",
                    "actual",
                    missing.byteAt(missing.size() - 1) & 0xff);
        }
    }

    /** Rows x dimensions; more than a long holds counts as Long.MAX_VALUE, unless a dimension is 0. */
    private static long product(long rows, List<Long> shape) {
        long product = rows;
        for (long dimension : shape) {
            if (dimension == 0) {
                return 0;
            }
            product = multiply(product, dimension);
        }
        return product;
    }

    private static long multiply(long left, long right) {
        return right != 0 && left > Long.MAX_VALUE / right ? Long.MAX_VALUE : left * right;
    }

    private static InvalidFrameException refuse(io.rendezvous.v1.Column column, String message, Object... attributes) {
        String name = shown(column.getName());
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("column", name);
        for (int index = 0; index < attributes.length; index += 2) {
            all.put((String) attributes[index], attributes[index + 1]);
        }
        return new InvalidFrameException("column '" + name + "': " + message, all);
    }

    /** Name of a type that may be unknown, for messages. */
    static String typeName(int number) {
        ColumnType type = ColumnType.of(number);
        DataType proto = DataType.forNumber(number);
        return type != null ? type.name() : proto != null ? proto.name() : String.valueOf(number);
    }
}
