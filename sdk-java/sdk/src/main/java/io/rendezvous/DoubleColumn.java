package io.rendezvous;

import java.nio.DoubleBuffer;

/**
 * A column of type FP64.
 *
 * <p>Immutable and thread-safe.
 */
public final class DoubleColumn extends Column {
    private final DoubleBuffer buffer;

    DoubleColumn(io.rendezvous.v1.Column proto, ColumnType type, int rows) {
        super(proto, type, rows);
        buffer = values().asDoubleBuffer();
    }

    /**
     * The value of a row of a scalar column.
     *
     * @param row 0 to rows - 1
     * @return the value; of no meaning if the row is missing
     * @throws SignatureMismatchException the column has a shape
     * @throws IndexOutOfBoundsException there is no such row
     */
    public double get(int row) {
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
    public double get(int row, int element) {
        return read(at(row, element));
    }

    /**
     * All elements, row by row.
     *
     * @return a new array of rows x elements
     */
    public double[] toArray() {
        double[] array = new double[size()];
        buffer.get(0, array);
        return array;
    }

    /**
     * All elements, row by row, over the memory of the received message: nothing is copied.
     *
     * @return a read-only buffer of rows x elements; its position is the caller's own
     */
    public DoubleBuffer asBuffer() {
        return buffer.duplicate();
    }

    @Override
    Object elementAt(int index) {
        return read(index);
    }

    @Override
    Object elementsOf(int row) {
        double[] array = new double[elements()];
        for (int element = 0; element < array.length; element++) {
            array[element] = read(at(row, element));
        }
        return array;
    }

    @Override
    double numberAt(int index) {
        return read(index);
    }

    private double read(int index) {
        return buffer.get(index);
    }
}
