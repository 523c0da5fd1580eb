package io.rendezvous;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Makes a {@link Frame} column by column.
 *
 * <pre>{@code
 * Frame outputs = Frame.builder()
 *         .fp64("probability", probabilities)
 *         .string("label", labels)                       // null: missing
 *         .fp64("limits", limits).shape(2)               // two elements a row
 *         .int64("score", scores).missing(mask)          // true: missing
 *         .build();
 * }</pre>
 *
 * <p>Arrays of fixed-width types are copied at once, texts at {@link #build()}. Not thread-safe.
 *
 * <p>Source: docs/protocol.md, sections "Frames" and "Missing values".
 */
public final class FrameBuilder {
    private final List<Draft> drafts = new ArrayList<>();
    private final Set<String> names = new HashSet<>();
    private int rows = -1;

    FrameBuilder() {}

    /**
     * Says how many rows there are; needed only where there is no column, or none with elements.
     *
     * @param count 0 or more; default: counted from the first column
     * @return this builder
     * @throws InvalidFrameException it is negative
     */
    public FrameBuilder rows(int count) {
        if (count < 0) {
            throw new InvalidFrameException("rows is " + count + ": it must not be negative", Map.of("rows", count));
        }
        rows = count;
        return this;
    }

    /**
     * Adds a column of type FP64.
     *
     * @param name its name
     * @param values rows x elements, row by row; copied
     * @return this builder
     * @throws InvalidFrameException the name is empty or used before
     */
    public FrameBuilder fp64(String name, double... values) {
        return add(Draft.of(name, values));
    }

    /**
     * Adds a column of type FP32.
     *
     * @param name its name
     * @param values rows x elements, row by row; copied
     * @return this builder
     * @throws InvalidFrameException the name is empty or used before
     */
    public FrameBuilder fp32(String name, float... values) {
        return add(Draft.of(name, values));
    }

    /**
     * Adds a column of type FP16.
     *
     * @param name its name
     * @param values rows x elements, row by row; rounded to the nearest that 16 bits hold
     * @return this builder
     * @throws InvalidFrameException the name is empty or used before
     */
    public FrameBuilder fp16(String name, float... values) {
        return add(Draft.halves(name, values));
    }

    /**
     * Adds a column of type INT64.
     *
     * @param name its name
     * @param values rows x elements, row by row; copied
     * @return this builder
     * @throws InvalidFrameException the name is empty or used before
     */
    public FrameBuilder int64(String name, long... values) {
        return add(Draft.of(name, ColumnType.INT64, values));
    }

    /**
     * Adds a column of type UINT64.
     *
     * @param name its name
     * @param values rows x elements, row by row; bits as {@link Long#parseUnsignedLong(String)} makes them
     * @return this builder
     * @throws InvalidFrameException the name is empty or used before
     */
    public FrameBuilder uint64(String name, long... values) {
        return add(Draft.of(name, ColumnType.UINT64, values));
    }

    /**
     * Adds a column of type INT32.
     *
     * @param name its name
     * @param values rows x elements, row by row; copied
     * @return this builder
     * @throws InvalidFrameException the name is empty or used before
     */
    public FrameBuilder int32(String name, int... values) {
        return add(Draft.of(name, ColumnType.INT32, values));
    }

    /**
     * Adds a column of type UINT32.
     *
     * @param name its name
     * @param values rows x elements, row by row; 0 to 4,294,967,295 each
     * @return this builder
     * @throws InvalidFrameException a value is out of range, or the name is empty or used before
     */
    public FrameBuilder uint32(String name, long... values) {
        return add(Draft.of(name, ColumnType.UINT32, values));
    }

    /**
     * Adds a column of type INT16.
     *
     * @param name its name
     * @param values rows x elements, row by row; -32,768 to 32,767 each
     * @return this builder
     * @throws InvalidFrameException a value is out of range, or the name is empty or used before
     */
    public FrameBuilder int16(String name, int... values) {
        return add(Draft.of(name, ColumnType.INT16, values));
    }

    /**
     * Adds a column of type UINT16.
     *
     * @param name its name
     * @param values rows x elements, row by row; 0 to 65,535 each
     * @return this builder
     * @throws InvalidFrameException a value is out of range, or the name is empty or used before
     */
    public FrameBuilder uint16(String name, int... values) {
        return add(Draft.of(name, ColumnType.UINT16, values));
    }

    /**
     * Adds a column of type INT8.
     *
     * @param name its name
     * @param values rows x elements, row by row; -128 to 127 each
     * @return this builder
     * @throws InvalidFrameException a value is out of range, or the name is empty or used before
     */
    public FrameBuilder int8(String name, int... values) {
        return add(Draft.of(name, ColumnType.INT8, values));
    }

    /**
     * Adds a column of type UINT8.
     *
     * @param name its name
     * @param values rows x elements, row by row; 0 to 255 each
     * @return this builder
     * @throws InvalidFrameException a value is out of range, or the name is empty or used before
     */
    public FrameBuilder uint8(String name, int... values) {
        return add(Draft.of(name, ColumnType.UINT8, values));
    }

    /**
     * Adds a column of type BOOL.
     *
     * @param name its name
     * @param values rows x elements, row by row; copied
     * @return this builder
     * @throws InvalidFrameException the name is empty or used before
     */
    public FrameBuilder bool(String name, boolean... values) {
        return add(Draft.of(name, values));
    }

    /**
     * Adds a column of type STRING.
     *
     * @param name its name
     * @param values rows x elements, row by row; null: the row is missing
     * @return this builder
     * @throws InvalidFrameException the name is empty or used before
     */
    public FrameBuilder string(String name, String... values) {
        return add(Draft.of(name, values));
    }

    /**
     * Adds a column of type BYTES.
     *
     * @param name its name
     * @param values rows x elements, row by row; null: the row is missing
     * @return this builder
     * @throws InvalidFrameException the name is empty or used before
     */
    public FrameBuilder bytes(String name, byte[]... values) {
        return add(Draft.of(name, values));
    }

    /**
     * Adds a column of boxed values, of any type.
     *
     * @param name its name
     * @param type type of the elements
     * @param values one a row: Boolean, Number, String or byte[] by the type; null: the row is missing. Numbers must
     *     fit the type exactly, except that floating-point types round
     * @return this builder
     * @throws InvalidFrameException a value is of another kind or does not fit, or the name is empty or used before
     */
    public FrameBuilder column(String name, ColumnType type, List<?> values) {
        return add(Draft.boxed(name, type, values));
    }

    /**
     * Adds a column of another frame as it is; nothing is copied.
     *
     * @param column the column
     * @return this builder
     * @throws InvalidFrameException the name is used before
     */
    public FrameBuilder column(Column column) {
        return add(Draft.ready(column));
    }

    /**
     * Gives the column added last a shape.
     *
     * @param dimensions shape of one row's value, at most 8 dimensions, none negative; default: scalar
     * @return this builder
     * @throws InvalidFrameException the shape is not allowed, or no column was added
     */
    public FrameBuilder shape(long... dimensions) {
        last().shape = dimensions.clone();
        return this;
    }

    /**
     * Says which rows of the column added last are missing; what it holds there does not count.
     *
     * @param mask one element a row, true: missing; null: none is
     * @return this builder
     * @throws InvalidFrameException no column was added
     */
    public FrameBuilder missing(boolean[] mask) {
        last().missing = mask == null ? null : mask.clone();
        return this;
    }

    /**
     * Makes the frame.
     *
     * @return the frame, checked
     * @throws InvalidFrameException columns or masks of unequal numbers of rows, a shape that is not allowed
     */
    public Frame build() {
        int count = rows >= 0 ? rows : drafts.isEmpty() ? 0 : drafts.get(0).rows();
        io.rendezvous.v1.Frame.Builder frame =
                io.rendezvous.v1.Frame.newBuilder().setRows(count);
        for (Draft draft : drafts) {
            frame.addColumns(draft.toProto(count));
        }
        return Frame.of(frame.build());
    }

    private FrameBuilder add(Draft draft) {
        if (draft.name == null || draft.name.isEmpty()) {
            throw new InvalidFrameException(
                    "column " + drafts.size() + " has no name: name it", Map.of("column", "", "index", drafts.size()));
        }
        if (!names.add(draft.name)) {
            String shown = FrameCheck.shown(draft.name);
            throw new InvalidFrameException(
                    "column '" + shown + "' is there twice: names must be unique", Map.of("column", shown));
        }
        drafts.add(draft);
        return this;
    }

    private Draft last() {
        if (drafts.isEmpty()) {
            throw new InvalidFrameException(
                    "shape and missing belong to a column: add one first", Collections.emptyMap());
        }
        return drafts.get(drafts.size() - 1);
    }
}
