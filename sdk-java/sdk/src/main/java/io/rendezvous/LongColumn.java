package io.rendezvous;

import java.nio.ByteBuffer;
import java.nio.LongBuffer;

/**
 * A column of type INT64, UINT64 or UINT32. Of UINT64 the bits are given, as {@link Long#toUnsignedString(long)} reads them.
 *
 * <p>Immutable and thread-safe.
 */
public final class LongColumn extends Column {
    private final ByteBuffer buffer;
    private final boolean wide;

    LongColumn(io.rendezvous.v1.Column proto, ColumnType type, int rows) {
        super(proto, type, rows);
        buffer = values();
        wide = type.width() == Long.BYTES;
    }

    /**
     * The value of a row of a scalar column.
     *
     * @param row 0 to rows - 1
     * @return the value; of no meaning if the row is missing
     * @throws SignatureMismatchException the column has a shape
     * @throws IndexOutOfBoundsException there is no such row
     */
    public long get(int row) {
        return read(at(row));
    }

    /**
     * One element of a row's value.
     *
     * @param row 0 to rows - 1
     * @param element 0 to elements - 1, in row-major order
     * @return the element; of no meaning if the row is missing
     * @throws IndexOutOfBoundsException there is no such row or element
     */
    public long get(int row, int element) {
        return read(at(row, element));
    }

    /**
     * All elements, row by row.
     *
     * @return a new array of rows x elements
     */
    public long[] toArray() {
        long[] array = new long[size()];
        for (int index = 0; index < array.length; index++) {
            array[index] = read(index);
        }
        return array;
    }

    /**
     * All elements, row by row, over the memory of the received message: nothing is copied.
     *
     * @return a read-only buffer of rows x elements; its position is the caller's own
     * @throws SignatureMismatchException the column is UINT32
     */
    public LongBuffer asBuffer() {
        if (!wide) {
            throw misread("INT64 or UINT64");
        }
        return buffer.asLongBuffer();
    }

    @Override
    Object elementAt(int index) {
        return read(index);
    }

    @Override
    Object elementsOf(int row) {
        long[] array = new long[elements()];
        for (int element = 0; element < array.length; element++) {
            array[element] = read(at(row, element));
        }
        return array;
    }

    @Override
    double numberAt(int index) {
        return toDouble(read(index));
    }

    private double toDouble(long value) {
        // Halved, with the lowest bit kept for the rounding, it fits a signed long.
        return value >= 0 || type() == ColumnType.INT64 ? value : (value >>> 1 | value & 1) * 2.0;
    }

    private long read(int index) {
        return wide ? buffer.getLong(index * 8) : Integer.toUnsignedLong(buffer.getInt(index * 4));
    }
}
