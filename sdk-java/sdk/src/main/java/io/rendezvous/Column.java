package io.rendezvous;

import com.google.protobuf.ByteString;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;

/**
 * One column of a {@link Frame}: a view of the bytes as they came, decoded only where it is asked.
 *
 * <p>A value belongs to a row. Where the column has a {@linkplain #shape() shape}, the value of a row is a tensor of
 * {@link #elements()} elements in row-major order, and single elements are read with {@code get(row, element)}.
 * What a {@linkplain #isMissing missing} row holds means nothing; look before you read.
 *
 * <p>Immutable and thread-safe.
 *
 * <p>Source: docs/protocol.md, sections "Frames" and "Missing values".
 */
public abstract sealed class Column
        permits BooleanColumn, BytesColumn, DoubleColumn, FloatColumn, IntColumn, LongColumn, StringColumn {
    private final io.rendezvous.v1.Column proto;
    private final ColumnType type;
    private final int rows;
    private final int elements;
    private final boolean scalar;
    private final ByteString missing;

    Column(io.rendezvous.v1.Column proto, ColumnType type, int rows) {
        this.proto = proto;
        this.type = type;
        this.rows = rows;
        this.scalar = proto.getShapeCount() == 0;
        this.elements = scalar ? 1 : FrameCheck.elementsPerRow(proto);
        this.missing = proto.getMissing();
    }

    /** Makes the view of a column that was checked. */
    static Column of(io.rendezvous.v1.Column proto, int rows) {
        ColumnType type = ColumnType.of(proto.getTypeValue());
        return switch (type) {
            case FP64 -> new DoubleColumn(proto, type, rows);
            case FP32, FP16 -> new FloatColumn(proto, type, rows);
            case INT64, UINT64, UINT32 -> new LongColumn(proto, type, rows);
            case INT32, INT16, INT8, UINT16, UINT8 -> new IntColumn(proto, type, rows);
            case BOOL -> new BooleanColumn(proto, type, rows);
            case STRING -> new StringColumn(proto, type, rows);
            case BYTES -> new BytesColumn(proto, type, rows);
        };
    }

    /**
     * The column's name.
     *
     * @return not empty, unique in the frame
     */
    public final String name() {
        return proto.getName();
    }

    /**
     * Type of every element.
     *
     * @return the type
     */
    public final ColumnType type() {
        return type;
    }

    /**
     * Number of rows.
     *
     * @return the frame's rows
     */
    public final int rows() {
        return rows;
    }

    /**
     * Shape of one row's value.
     *
     * @return dimensions; empty for a scalar
     */
    public final List<Long> shape() {
        return proto.getShapeList();
    }

    /**
     * Elements of one row's value.
     *
     * @return product of the shape; 1 for a scalar
     */
    public final int elements() {
        return elements;
    }

    /**
     * Whether any row is missing.
     *
     * @return true if at least one is
     */
    public final boolean hasMissing() {
        return !missing.isEmpty() && Bits.first(missing) >= 0;
    }

    /**
     * Whether a row is missing (R's NA, pandas' NA, SQL's null).
     *
     * @param row 0 to rows - 1
     * @return true if it is
     * @throws IndexOutOfBoundsException there is no such row
     */
    public final boolean isMissing(int row) {
        checkRow(row);
        return !missing.isEmpty() && Bits.get(missing, row);
    }

    /**
     * Number of missing rows.
     *
     * @return 0 to rows
     */
    public final int missingCount() {
        return Bits.count(missing);
    }

    /**
     * Which rows are missing, as a mask that {@link FrameBuilder#missing} takes.
     *
     * @return a new array of {@code rows} elements
     */
    public final boolean[] missing() {
        boolean[] mask = new boolean[rows];
        if (!missing.isEmpty()) {
            for (int row = 0; row < rows; row++) {
                mask[row] = Bits.get(missing, row);
            }
        }
        return mask;
    }

    /**
     * The value of a row as an object: convenient, and slower than the typed views.
     *
     * @param row 0 to rows - 1
     * @return null if the row is missing; else a Boolean, Integer, Long, Float, Double, String or byte[] by the
     *     column's type; of a shaped column an array of its elements
     * @throws IndexOutOfBoundsException there is no such row
     */
    public final Object value(int row) {
        if (isMissing(row)) {
            return null;
        }
        return scalar ? elementAt(row) : elementsOf(row);
    }

    /**
     * The value of a row as a number, whatever numeric type the column has.
     *
     * @param row 0 to rows - 1
     * @return the nearest double; NaN if the row is missing; a BOOL is 0 or 1
     * @throws SignatureMismatchException the column is STRING or BYTES, or has a shape
     * @throws IndexOutOfBoundsException there is no such row
     */
    public final double number(int row) {
        if (!scalar) {
            throw misread("a scalar column");
        }
        return isMissing(row) ? Double.NaN : numberAt(row);
    }

    /**
     * The column as it travels.
     *
     * @return the message this is a view of
     */
    public final io.rendezvous.v1.Column toProto() {
        return proto;
    }

    /** The element at a flat index, boxed. */
    abstract Object elementAt(int index);

    /** The elements of one row of a shaped column, as an array. */
    abstract Object elementsOf(int row);

    /** The element at a flat index as a double. */
    double numberAt(int index) {
        throw misread("a numeric column");
    }

    /** The flat index of a scalar row. */
    final int at(int row) {
        if (!scalar) {
            throw misread("a scalar column");
        }
        checkRow(row);
        return row;
    }

    private void checkRow(int row) {
        if (row < 0 || row >= rows) {
            throw new IndexOutOfBoundsException(
                    "row " + row + " of column '" + name() + "': it has " + rows + " rows, counted from 0");
        }
    }

    /** The flat index of an element of a row. */
    final int at(int row, int element) {
        if (element < 0 || element >= elements || row < 0 || row >= rows) {
            throw new IndexOutOfBoundsException("row " + row + ", element " + element + " of column '" + name() + "': "
                    + rows + " rows of " + elements + " elements");
        }
        return row * elements + element;
    }

    /** Number of elements of all rows. */
    final int size() {
        return rows * elements;
    }

    final ByteBuffer values() {
        // Sliced, because the values are a part of the received message: index 0 is to be their first byte.
        return proto.getValues().asReadOnlyByteBuffer().slice().order(ByteOrder.LITTLE_ENDIAN);
    }

    final SignatureMismatchException misread(String expected) {
        String actual = type + shape().toString();
        return new SignatureMismatchException(
                "column '" + name() + "' is " + actual + ", and was read as " + expected,
                Map.of("column", name(), "expected", expected, "actual", actual));
    }
}
