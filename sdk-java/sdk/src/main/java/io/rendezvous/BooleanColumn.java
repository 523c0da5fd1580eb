package io.rendezvous;

import java.nio.ByteBuffer;

/**
 * A column of type BOOL.
 *
 * <p>Immutable and thread-safe.
 */
public final class BooleanColumn extends Column {
    private final ByteBuffer buffer;

    BooleanColumn(io.rendezvous.v1.Column proto, ColumnType type, int rows) {
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
    public boolean get(int row) {
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
    public boolean get(int row, int element) {
        return read(at(row, element));
    }

    /**
     * All elements, row by row.
     *
     * @return a new array of rows x elements
     */
    public boolean[] toArray() {
        boolean[] array = new boolean[size()];
        for (int index = 0; index < array.length; index++) {
            array[index] = read(index);
        }
        return array;
    }

    @Override
    Object elementAt(int index) {
        return read(index);
    }

    @Override
    Object elementsOf(int row) {
        boolean[] array = new boolean[elements()];
        for (int element = 0; element < array.length; element++) {
            array[element] = read(at(row, element));
        }
        return array;
    }

    @Override
    double numberAt(int index) {
        return read(index) ? 1 : 0;
    }

    private boolean read(int index) {
        return buffer.get(index) != 0;
    }
}
