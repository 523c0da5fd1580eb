package io.rendezvous;

/**
 * A column of type STRING. Empty text and missing are two things.
 *
 * <p>Immutable and thread-safe.
 */
public final class StringColumn extends Column {
    StringColumn(io.rendezvous.v1.Column proto, ColumnType type, int rows) {
        super(proto, type, rows);
    }

    /**
     * The value of a row of a scalar column.
     *
     * @param row 0 to rows - 1
     * @return the value; of no meaning if the row is missing
     * @throws SignatureMismatchException the column has a shape
     * @throws IndexOutOfBoundsException there is no such row
     */
    public String get(int row) {
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
    public String get(int row, int element) {
        return read(at(row, element));
    }

    /**
     * All elements, row by row.
     *
     * @return a new array of rows x elements
     */
    public String[] toArray() {
        String[] array = new String[size()];
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
        String[] array = new String[elements()];
        for (int element = 0; element < array.length; element++) {
            array[element] = read(at(row, element));
        }
        return array;
    }

    private String read(int index) {
        return toProto().getStrings(index);
    }
}
