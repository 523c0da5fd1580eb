package io.rendezvous;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * A table of rows: what goes into a model and what comes out of it.
 *
 * <pre>{@code
 * DoubleColumn income = inputs.fp64("income");
 * double[] risk = new double[inputs.rows()];
 * for (int row = 0; row < risk.length; row++) {
 *     risk[row] = income.isMissing(row) ? 0.5 : 1 / (1 + Math.exp(income.get(row) / 1000));
 * }
 * return Frame.builder().fp64("risk", risk).build();
 * }</pre>
 *
 * <p>A frame is a view of the message as it came: fixed-width columns are read in place, element by element as they
 * are asked for. It is checked once, when it is made, so that its parts never contradict each other.
 *
 * <p>Immutable and thread-safe.
 *
 * <p>Source: docs/protocol.md, sections "Frames" and "Missing values".
 */
public final class Frame {
    private final io.rendezvous.v1.Frame proto;
    private final int rows;
    private final Column[] views;

    private Frame(io.rendezvous.v1.Frame proto) {
        this.proto = proto;
        this.rows = (int) proto.getRows();
        this.views = new Column[proto.getColumnsCount()];
    }

    /**
     * Views a received message.
     *
     * @param proto the message; not copied
     * @return the frame
     * @throws InvalidFrameException the frame contradicts itself; the attribute {@code column} names the column
     * @throws TooLargeException it has more than 2,147,483,647 rows
     */
    public static Frame of(io.rendezvous.v1.Frame proto) {
        FrameCheck.check(proto);
        if (proto.getRows() > Integer.MAX_VALUE) {
            throw new TooLargeException(
                    "the frame has " + proto.getRows() + " rows; the limit is " + Integer.MAX_VALUE + ": send fewer",
                    Map.of("actual", proto.getRows(), "limit", Integer.MAX_VALUE));
        }
        return new Frame(proto);
    }

    /**
     * Begins a frame whose rows are counted from its first column.
     *
     * @return an empty builder
     */
    public static FrameBuilder builder() {
        return new FrameBuilder();
    }

    /**
     * Number of rows.
     *
     * @return 0 or more
     */
    public int rows() {
        return rows;
    }

    /**
     * Names of the columns.
     *
     * @return in the order of the frame
     */
    public List<String> names() {
        List<String> names = new ArrayList<>(views.length);
        for (io.rendezvous.v1.Column column : proto.getColumnsList()) {
            names.add(column.getName());
        }
        return names;
    }

    /**
     * Whether there is a column of this name.
     *
     * @param name the name
     * @return true if there is
     */
    public boolean has(String name) {
        return find(name) >= 0;
    }

    /**
     * All columns.
     *
     * @return in the order of the frame
     */
    public List<Column> columns() {
        List<Column> columns = new ArrayList<>(views.length);
        for (int index = 0; index < views.length; index++) {
            columns.add(view(index));
        }
        return columns;
    }

    /**
     * A column of any type.
     *
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name
     */
    public Column column(String name) {
        int index = find(name);
        if (index < 0) {
            throw new SignatureMismatchException(
                    "there is no column '" + FrameCheck.shown(name) + "'; there are " + FrameCheck.shown(names()),
                    Map.of("column", FrameCheck.shown(name)));
        }
        return view(index);
    }

    /**
     * A column of type FP64.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public DoubleColumn fp64(String name) {
        return (DoubleColumn) typed(name, ColumnType.FP64);
    }

    /**
     * A column of type FP32.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public FloatColumn fp32(String name) {
        return (FloatColumn) typed(name, ColumnType.FP32);
    }

    /**
     * A column of type FP16.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public FloatColumn fp16(String name) {
        return (FloatColumn) typed(name, ColumnType.FP16);
    }

    /**
     * A column of type INT64.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public LongColumn int64(String name) {
        return (LongColumn) typed(name, ColumnType.INT64);
    }

    /**
     * A column of type UINT64.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public LongColumn uint64(String name) {
        return (LongColumn) typed(name, ColumnType.UINT64);
    }

    /**
     * A column of type INT32.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public IntColumn int32(String name) {
        return (IntColumn) typed(name, ColumnType.INT32);
    }

    /**
     * A column of type UINT32.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public LongColumn uint32(String name) {
        return (LongColumn) typed(name, ColumnType.UINT32);
    }

    /**
     * A column of type INT16.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public IntColumn int16(String name) {
        return (IntColumn) typed(name, ColumnType.INT16);
    }

    /**
     * A column of type UINT16.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public IntColumn uint16(String name) {
        return (IntColumn) typed(name, ColumnType.UINT16);
    }

    /**
     * A column of type INT8.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public IntColumn int8(String name) {
        return (IntColumn) typed(name, ColumnType.INT8);
    }

    /**
     * A column of type UINT8.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public IntColumn uint8(String name) {
        return (IntColumn) typed(name, ColumnType.UINT8);
    }

    /**
     * A column of type BOOL.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public BooleanColumn bool(String name) {
        return (BooleanColumn) typed(name, ColumnType.BOOL);
    }

    /**
     * A column of type STRING.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public StringColumn string(String name) {
        return (StringColumn) typed(name, ColumnType.STRING);
    }

    /**
     * A column of type BYTES.
     * @param name its name
     * @return the column
     * @throws SignatureMismatchException there is none of this name, or it has another type
     */
    public BytesColumn bytes(String name) {
        return (BytesColumn) typed(name, ColumnType.BYTES);
    }

    /**
     * Rows of this frame as a frame of their own; fixed-width values are shared, not copied.
     *
     * @param start first row
     * @param stop row after the last
     * @return the rows start to stop
     * @throws InvalidFrameException not 0 &lt;= start &lt;= stop &lt;= rows
     */
    public Frame slice(int start, int stop) {
        return start == 0 && stop == rows ? this : new Frame(FrameCut.slice(proto, start, stop));
    }

    /**
     * Consecutive parts of this frame.
     *
     * @param counts rows of each part
     * @return one frame for each count
     * @throws InvalidFrameException a part is negative, or they do not add up to the frame's rows
     */
    public List<Frame> split(int... counts) {
        long sum = 0;
        for (int count : counts) {
            if (count < 0) {
                throw new InvalidFrameException("a part of " + count + " rows was asked for", Map.of("actual", count));
            }
            sum += count;
        }
        if (sum != rows) {
            throw new InvalidFrameException(
                    "parts of " + sum + " rows in all were asked of a frame of " + rows + " rows",
                    Map.of("expected", rows, "actual", sum));
        }
        List<Frame> parts = new ArrayList<>(counts.length);
        int start = 0;
        for (int count : counts) {
            parts.add(slice(start, start + count));
            start += count;
        }
        return parts;
    }

    /**
     * The rows of all frames, in order.
     *
     * @param frames frames of the same columns in the same order; of one, that very frame is returned; of none, one
     *     without rows
     * @return the joined frame
     * @throws InvalidFrameException names, types, shapes or their order differ
     */
    public static Frame join(List<Frame> frames) {
        if (frames.size() == 1) {
            return frames.get(0);
        }
        List<io.rendezvous.v1.Frame> protos = new ArrayList<>(frames.size());
        for (Frame frame : frames) {
            protos.add(frame.proto);
        }
        return new Frame(FrameCut.join(protos));
    }

    /**
     * Some of the columns, in the order asked for.
     *
     * @param names names of columns
     * @return a frame of the same rows
     * @throws SignatureMismatchException there is no such column
     */
    public Frame select(Collection<String> names) {
        io.rendezvous.v1.Frame.Builder selected =
                io.rendezvous.v1.Frame.newBuilder().setRows(rows);
        for (String name : names) {
            selected.addColumns(column(name).toProto());
        }
        return new Frame(selected.build());
    }

    /**
     * The frame as it travels.
     *
     * @return the message this is a view of
     */
    public io.rendezvous.v1.Frame toProto() {
        return proto;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Frame frame && proto.equals(frame.proto);
    }

    @Override
    public int hashCode() {
        return proto.hashCode();
    }

    @Override
    public String toString() {
        List<String> columns = new ArrayList<>(views.length);
        for (io.rendezvous.v1.Column column : proto.getColumnsList()) {
            String shape =
                    column.getShapeCount() == 0 ? "" : column.getShapeList().toString();
            columns.add(column.getName() + " " + FrameCheck.typeName(column.getTypeValue()) + shape);
        }
        return "Frame of " + rows + " rows: " + String.join(", ", columns);
    }

    private int find(String name) {
        List<io.rendezvous.v1.Column> columns = proto.getColumnsList();
        for (int index = 0; index < views.length; index++) {
            if (columns.get(index).getName().equals(name)) {
                return index;
            }
        }
        return -1;
    }

    /** Made when first asked for; two threads may make it twice, which does no harm. */
    private Column view(int index) {
        Column view = views[index];
        if (view == null) {
            view = Column.of(proto.getColumns(index), rows);
            views[index] = view;
        }
        return view;
    }

    private Column typed(String name, ColumnType type) {
        Column column = column(name);
        if (column.type() != type) {
            throw column.misread(type.name());
        }
        return column;
    }
}
