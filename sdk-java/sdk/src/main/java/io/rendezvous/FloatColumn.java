package io.rendezvous;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;

/**
 * A column of type FP32 or FP16; elements of FP16 are widened, which loses nothing.
 *
 * <p>Immutable and thread-safe.
 */
public final class FloatColumn extends Column {
    private final ByteBuffer buffer;
    private final boolean wide;

    FloatColumn(io.rendezvous.v1.Column proto, ColumnType type, int rows) {
        super(proto, type, rows);
        buffer = values();
        wide = type == ColumnType.FP32;
    }

    /**
     * The value of a row of a scalar column.
     *
     * @param row 0 to rows - 1
     * @return the value; of no meaning if the row is missing
     * @throws SignatureMismatchException the column has a shape
     * @throws IndexOutOfBoundsException there is no such row
     */
    public float get(int row) {
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
    public float get(int row, int element) {
        return read(at(row, element));
    }

    /**
     * All elements, row by row.
     *
     * @return a new array of rows x elements
     */
    public float[] toArray() {
        float[] array = new float[size()];
        for (int index = 0; index < array.length; index++) {
            array[index] = read(index);
        }
        return array;
    }

    /**
     * All elements, row by row, over the memory of the received message: nothing is copied.
     *
     * @return a read-only buffer of rows x elements; its position is the caller's own
     * @throws SignatureMismatchException the column is FP16, which has no Java type of its own
     */
    public FloatBuffer asBuffer() {
        if (!wide) {
            throw misread("FP32");
        }
        return buffer.asFloatBuffer();
    }

    @Override
    Object elementAt(int index) {
        return read(index);
    }

    @Override
    Object elementsOf(int row) {
        float[] array = new float[elements()];
        for (int element = 0; element < array.length; element++) {
            array[element] = read(at(row, element));
        }
        return array;
    }

    @Override
    double numberAt(int index) {
        return read(index);
    }

    private float read(int index) {
        return wide ? buffer.getFloat(index * 4) : Half.toFloat(buffer.getShort(index * 2));
    }
}
