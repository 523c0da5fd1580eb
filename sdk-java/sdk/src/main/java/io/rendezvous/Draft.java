package io.rendezvous;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** A column on its way into a frame. */
final class Draft {
    private static final long[] SCALAR = {};

    final String name;
    final ColumnType type;
    long[] shape = SCALAR;
    boolean[] missing;
    private int size;
    private byte[] values;
    private String[] strings;
    private byte[][] blobs;
    private Column ready;

    private Draft(String name, ColumnType type, int size) {
        this.name = name;
        this.type = type;
        this.size = size;
    }

    static Draft of(String name, double[] values) {
        Draft draft = new Draft(name, ColumnType.FP64, values.length);
        draft.allocate().asDoubleBuffer().put(values);
        return draft;
    }

    static Draft of(String name, float[] values) {
        Draft draft = new Draft(name, ColumnType.FP32, values.length);
        draft.allocate().asFloatBuffer().put(values);
        return draft;
    }

    static Draft halves(String name, float[] values) {
        Draft draft = new Draft(name, ColumnType.FP16, values.length);
        ByteBuffer buffer = draft.allocate();
        for (float value : values) {
            buffer.putShort(Half.fromFloat(value));
        }
        return draft;
    }

    static Draft of(String name, ColumnType type, long[] values) {
        Draft draft = new Draft(name, type, values.length);
        ByteBuffer buffer = draft.allocate();
        if (type == ColumnType.UINT32) {
            for (long value : values) {
                buffer.putInt((int) draft.inRange(value, 0, 0xffff_ffffL));
            }
        } else {
            buffer.asLongBuffer().put(values);
        }
        return draft;
    }

    static Draft of(String name, ColumnType type, int[] values) {
        Draft draft = new Draft(name, type, values.length);
        ByteBuffer buffer = draft.allocate();
        if (type == ColumnType.INT32) {
            buffer.asIntBuffer().put(values);
            return draft;
        }
        for (int value : values) {
            draft.putSmall(buffer, value);
        }
        return draft;
    }

    static Draft of(String name, boolean[] values) {
        Draft draft = new Draft(name, ColumnType.BOOL, values.length);
        ByteBuffer buffer = draft.allocate();
        for (boolean value : values) {
            buffer.put((byte) (value ? 1 : 0));
        }
        return draft;
    }

    static Draft of(String name, String[] values) {
        Draft draft = new Draft(name, ColumnType.STRING, values.length);
        draft.strings = values.clone();
        return draft;
    }

    static Draft of(String name, byte[][] values) {
        Draft draft = new Draft(name, ColumnType.BYTES, values.length);
        draft.blobs = values.clone();
        return draft;
    }

    static Draft ready(Column column) {
        Draft draft = new Draft(column.name(), column.type(), column.size());
        draft.ready = column;
        return draft;
    }

    static Draft boxed(String name, ColumnType type, List<?> values) {
        Draft draft = new Draft(name, type, values.size());
        if (type == ColumnType.STRING) {
            draft.strings = values.stream()
                    .map(value -> draft.cast(String.class, value))
                    .toArray(String[]::new);
            return draft;
        }
        if (type == ColumnType.BYTES) {
            draft.blobs = values.stream()
                    .map(value -> draft.cast(byte[].class, value))
                    .toArray(byte[][]::new);
            return draft;
        }
        ByteBuffer buffer = draft.allocate();
        boolean[] missing = new boolean[values.size()];
        for (int row = 0; row < missing.length; row++) {
            Object value = values.get(row);
            missing[row] = value == null;
            draft.putBoxed(buffer, value);
        }
        draft.missing = missing;
        return draft;
    }

    /** Rows, as the number of elements and the shape tell. */
    int rows() {
        if (ready != null) {
            return ready.rows();
        }
        long elements = 1;
        for (long dimension : shape) {
            elements *= dimension;
        }
        if (elements > 0) {
            return (int) (size / elements);
        }
        return missing == null ? 0 : missing.length;
    }

    io.rendezvous.v1.Column toProto(int rows) {
        if (ready != null) {
            return ready.toProto();
        }
        io.rendezvous.v1.Column.Builder column =
                io.rendezvous.v1.Column.newBuilder().setName(name).setType(type.toProto());
        for (long dimension : shape) {
            column.addShape(dimension);
        }
        boolean[] mask = nullsMasked(rows);
        if (mask != null) {
            if (mask.length != rows) {
                throw refuse("the mask of missing rows has " + mask.length + " elements for " + rows + " rows");
            }
            clear(mask, rows);
            column.setMissing(Bits.pack(mask));
        }
        fill(column);
        return column.build();
    }

    private void fill(io.rendezvous.v1.Column.Builder column) {
        if (strings != null) {
            for (String text : strings) {
                column.addStrings(text == null ? "" : text);
            }
        } else if (blobs != null) {
            for (byte[] blob : blobs) {
                column.addBlobs(blob == null ? ByteString.EMPTY : ByteString.copyFrom(blob));
            }
        } else {
            column.setValues(UnsafeByteOperations.unsafeWrap(values));
        }
    }

    /** A null text or blob makes its row missing, where the column is scalar. */
    private boolean[] nullsMasked(int rows) {
        Object[] objects = strings != null ? strings : blobs;
        if (objects == null || !Arrays.asList(objects).contains(null)) {
            return missing;
        }
        boolean[] mask = missing == null ? new boolean[rows] : missing;
        int each = rows == 0 ? 1 : Math.max(1, size / rows);
        for (int index = 0; index < objects.length && index / each < mask.length; index++) {
            if (objects[index] == null) {
                mask[index / each] = true;
            }
        }
        return mask;
    }

    /** A missing row's elements are sent as zero bytes or empty. */
    private void clear(boolean[] mask, int rows) {
        int each = rows == 0 ? 0 : size / rows;
        for (int row = 0; row < rows; row++) {
            if (!mask[row]) {
                continue;
            }
            int from = row * each;
            if (strings != null) {
                Arrays.fill(strings, from, from + each, "");
            } else if (blobs != null) {
                Arrays.fill(blobs, from, from + each, new byte[0]);
            } else {
                Arrays.fill(values, from * type.width(), (from + each) * type.width(), (byte) 0);
            }
        }
    }

    private ByteBuffer allocate() {
        values = new byte[Math.multiplyExact(size, type.width())];
        return ByteBuffer.wrap(values).order(ByteOrder.LITTLE_ENDIAN);
    }

    private void putSmall(ByteBuffer buffer, long value) {
        switch (type) {
            case INT8 -> buffer.put((byte) inRange(value, Byte.MIN_VALUE, Byte.MAX_VALUE));
            case UINT8 -> buffer.put((byte) inRange(value, 0, 0xff));
            case INT16 -> buffer.putShort((short) inRange(value, Short.MIN_VALUE, Short.MAX_VALUE));
            case UINT16 -> buffer.putShort((short) inRange(value, 0, 0xffff));
            case INT32 -> buffer.putInt((int) inRange(value, Integer.MIN_VALUE, Integer.MAX_VALUE));
            default -> buffer.putInt((int) inRange(value, 0, 0xffff_ffffL));
        }
    }

    private void putBoxed(ByteBuffer buffer, Object value) {
        switch (type) {
            case BOOL -> buffer.put((byte) (value != null && cast(Boolean.class, value) ? 1 : 0));
            case FP64 ->
                buffer.putDouble(value == null ? 0 : cast(Number.class, value).doubleValue());
            case FP32 ->
                buffer.putFloat(value == null ? 0 : cast(Number.class, value).floatValue());
            case FP16 ->
                buffer.putShort(Half.fromFloat(
                        value == null ? 0 : cast(Number.class, value).floatValue()));
            case INT64 ->
                buffer.putLong(value == null ? 0 : whole(value, Long.SIZE - 1).longValue());
            case UINT64 ->
                buffer.putLong(value == null ? 0 : whole(value, Long.SIZE).longValue());
            default ->
                putSmall(buffer, value == null ? 0 : whole(value, Long.SIZE - 1).longValue());
        }
    }

    private BigInteger whole(Object value, int bits) {
        Number number = cast(Number.class, value);
        BigInteger exact;
        if (number instanceof BigInteger big) {
            exact = big;
        } else if (number.doubleValue() != number.longValue() || number instanceof Double || number instanceof Float) {
            throw refuse("the value " + number + " is no whole number of type " + type);
        } else {
            exact = BigInteger.valueOf(number.longValue());
        }
        boolean unsigned = bits == Long.SIZE;
        if (exact.bitLength() > bits || unsigned && exact.signum() < 0) {
            throw refuse("the value " + exact + " does not fit type " + type);
        }
        return exact;
    }

    private long inRange(long value, long least, long most) {
        if (value < least || value > most) {
            throw refuse("the value " + value + " does not fit type " + type + " (" + least + " to " + most + ")");
        }
        return value;
    }

    private <T> T cast(Class<T> kind, Object value) {
        if (value != null && !kind.isInstance(value)) {
            throw refuse("a value is a " + value.getClass().getSimpleName() + "; type " + type + " takes a "
                    + kind.getSimpleName());
        }
        return kind.cast(value);
    }

    private InvalidFrameException refuse(String message) {
        String shown = FrameCheck.shown(name);
        return new InvalidFrameException("column '" + shown + "': " + message, Map.of("column", shown));
    }
}
