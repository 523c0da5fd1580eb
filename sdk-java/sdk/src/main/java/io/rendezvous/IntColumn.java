package io.rendezvous;

import java.nio.ByteBuffer;
import java.nio.IntBuffer;

/**
 * A column of type INT32, INT16, INT8, UINT16 or UINT8.
 *
 * <p>Immutable and thread-safe.
 */
public final class IntColumn extends Column {
    private final ByteBuffer buffer;

    IntColumn(io.rendezvous.v1.Column proto, ColumnType type, int rows) {
        super(proto, type, rows);
        buffer = values();
    }

    /**
     * The value of a row of a scalar column.
     *
     * @param row 0 to rows - 1
     * @return the value; of no meaning if the row is missing
     * @throws SignatureMismatchException the column has a shape
     * @throws IndexOutOfBoundsException there is no such row
     */
    public int get(int row) {
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
    public int get(int row, int element) {
        return read(at(row, element));
    }

    /**
     * All elements, row by row.
     *
     * @return a new array of rows x elements
     */
    public int[] toArray() {
        int[] array = new int[size()];
        for (int index = 0; index < array.length; index++) {
            array[index] = read(index);
        }
        return array;
    }

    /**
     * All elements, row by row, over the memory of the received message: nothing is copied.
     *
     * @return a read-only buffer of rows x elements; its position is the caller's own
     * @throws SignatureMismatchException the column is not INT32
     */
    public IntBuffer asBuffer() {
        if (type() != ColumnType.INT32) {
            throw misread("INT32");
        }
        return buffer.asIntBuffer();
    }

    @Override
    Object elementAt(int index) {
        return read(index);
    }

    @Override
    Object elementsOf(int row) {
        int[] array = new int[elements()];
        for (int element = 0; element < array.length; element++) {
            array[element] = read(at(row, element));
        }
        return array;
    }

    @Override
    double numberAt(int index) {
        return read(index);
    }

    private int read(int index) {
        return switch (type()) {
            case INT32 -> buffer.getInt(index * 4);
            case INT16 -> buffer.getShort(index * 2);
            case UINT16 -> buffer.getShort(index * 2) & 0xffff;
            case INT8 -> buffer.get(index);
            default -> buffer.get(index) & 0xff;
        };
    }
}
