package io.rendezvous;

import com.google.protobuf.ByteString;

/**
 * A column of type BYTES. No bytes and missing are two things.
 *
 * <p>Immutable and thread-safe.
 */
public final class BytesColumn extends Column {
    BytesColumn(io.rendezvous.v1.Column proto, ColumnType type, int rows) {
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
    public ByteString get(int row) {
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
    public ByteString get(int row, int element) {
        return read(at(row, element));
    }

    /**
     * All elements, row by row.
     *
     * @return a new array of rows x elements
     */
    public byte[][] toArray() {
        byte[][] array = new byte[size()][];
        for (int index = 0; index < array.length; index++) {
            array[index] = read(index).toByteArray();
        }
        return array;
    }

    @Override
    Object elementAt(int index) {
        return read(index).toByteArray();
    }

    @Override
    Object elementsOf(int row) {
        byte[][] array = new byte[elements()][];
        for (int element = 0; element < array.length; element++) {
            array[element] = read(at(row, element)).toByteArray();
        }
        return array;
    }

    private ByteString read(int index) {
        return toProto().getBlobs(index);
    }
}
