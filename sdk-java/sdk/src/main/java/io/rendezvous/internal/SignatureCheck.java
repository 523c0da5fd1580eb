package io.rendezvous.internal;

import io.rendezvous.Column;
import io.rendezvous.ColumnType;
import io.rendezvous.DoubleColumn;
import io.rendezvous.FloatColumn;
import io.rendezvous.Frame;
import io.rendezvous.SignatureMismatchException;
import io.rendezvous.v1.ColumnSpec;
import java.nio.DoubleBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Checks frames against signatures (P60, P61). */
public final class SignatureCheck {
    private final List<ColumnSpec> specs;
    private final Map<String, ColumnSpec> byName = new HashMap<>();
    private final String what;

    /**
     * Prepares the check.
     *
     * @param specs the signature's columns; empty: anything is taken
     * @param what what is checked, for messages
     */
    public SignatureCheck(List<ColumnSpec> specs, String what) {
        this.specs = specs;
        this.what = what;
        specs.forEach(spec -> byName.put(spec.getName(), spec));
    }

    /** Checks that a frame has exactly the columns of the signature, in any order. */
    public void check(Frame frame) {
        if (specs.isEmpty()) {
            return;
        }
        for (Column column : frame.columns()) {
            ColumnSpec spec = byName.get(column.name());
            if (spec == null) {
                throw refuse(column.name(), "is unknown: expected are " + known(), "expected", known());
            }
            checkColumn(column, spec);
        }
        if (frame.columns().size() != specs.size()) {
            refuseAbsent(frame);
        }
    }

    /** Returns the declared columns in the declared order, checked; others are left out. */
    public Frame select(Frame frame) {
        if (specs.isEmpty()) {
            return frame;
        }
        Frame selected = isInOrder(frame) ? frame : frame.select(presentOf(frame));
        check(selected);
        return selected;
    }

    private List<String> presentOf(Frame frame) {
        List<String> present = new ArrayList<>(specs.size());
        for (ColumnSpec spec : specs) {
            if (frame.has(spec.getName())) {
                present.add(spec.getName());
            }
        }
        return present;
    }

    private boolean isInOrder(Frame frame) {
        List<io.rendezvous.v1.Column> columns = frame.toProto().getColumnsList();
        if (columns.size() != specs.size()) {
            return false;
        }
        for (int index = 0; index < columns.size(); index++) {
            if (!columns.get(index).getName().equals(specs.get(index).getName())) {
                return false;
            }
        }
        return true;
    }

    private void checkColumn(Column column, ColumnSpec spec) {
        if (spec.getTypeValue() != 0 && column.type() != ColumnType.of(spec.getTypeValue())) {
            throw mismatch(column, "has another type", ColumnType.of(spec.getTypeValue()), column.type());
        }
        if (spec.getTypeValue() != 0 && !column.shape().equals(spec.getShapeList())) {
            throw mismatch(column, "has another shape", spec.getShapeList(), column.shape());
        }
        if (spec.getTypeValue() == 0) {
            return; // only the name was declared
        }
        if (!spec.getAllowMissing() && column.hasMissing()) {
            int row = 0;
            while (!column.isMissing(row)) {
                row++;
            }
            throw refuse(
                    column.name(), "is missing in row " + row + ": missing values are not allowed here", "row", row);
        }
        if (column.type().isFloating() && !spec.getAllowNan()) {
            checkFinite(column);
        }
    }

    private void checkFinite(Column column) {
        int elements = column.elements();
        int count = column.rows() * elements;
        if (column instanceof DoubleColumn doubles) {
            DoubleBuffer buffer = doubles.asBuffer();
            for (int index = 0; index < count; index++) {
                if (!Double.isFinite(buffer.get(index)) && !column.isMissing(index / elements)) {
                    throw notFinite(column, index / elements, buffer.get(index));
                }
            }
        } else if (column instanceof FloatColumn floats) {
            for (int index = 0; index < count; index++) {
                float value = floats.get(index / elements, index % elements);
                if (!Float.isFinite(value) && !column.isMissing(index / elements)) {
                    throw notFinite(column, index / elements, value);
                }
            }
        }
    }

    private SignatureMismatchException notFinite(Column column, int row, double actual) {
        return refuse(
                column.name(),
                "is " + actual + " in row " + row + ": it must be finite here",
                "row",
                row,
                "actual",
                actual);
    }

    private void refuseAbsent(Frame frame) {
        for (ColumnSpec spec : specs) {
            if (!frame.has(spec.getName())) {
                String expected =
                        ColumnType.of(spec.getTypeValue()) + spec.getShapeList().toString();
                String there = frame.names().isEmpty() ? "no columns" : Shown.names(frame.names());
                throw refuse(spec.getName(), "(" + expected + ") is absent; there are " + there, "expected", expected);
            }
        }
    }

    private SignatureMismatchException mismatch(Column column, String fault, Object expected, Object actual) {
        return refuse(
                column.name(),
                fault + ": expected " + expected + ", got " + actual,
                "expected",
                expected,
                "actual",
                actual);
    }

    private SignatureMismatchException refuse(String name, String fault, Object... attributes) {
        String column = Shown.value(name);
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("what", what);
        all.put("column", column);
        for (int index = 0; index < attributes.length; index += 2) {
            all.put((String) attributes[index], attributes[index + 1]);
        }
        return new SignatureMismatchException(what + ": column '" + column + "' " + fault, all);
    }

    private String known() {
        return Shown.names(specs.stream().map(ColumnSpec::getName).toList());
    }
}
