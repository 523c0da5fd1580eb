package io.rendezvous;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;

/** The bitmap of missing rows: one bit a row, least significant first, 1 = missing (P50). */
final class Bits {
    private Bits() {}

    static int bytesFor(long rows) {
        return Math.toIntExact((rows + 7) / 8);
    }

    static boolean get(ByteString bitmap, int row) {
        return (bitmap.byteAt(row >> 3) >> (row & 7) & 1) != 0;
    }

    static void set(byte[] bitmap, int row) {
        bitmap[row >> 3] |= (byte) (1 << (row & 7));
    }

    /** Returns the bitmap of a mask; empty if no row is missing. */
    static ByteString pack(boolean[] missing) {
        byte[] bitmap = new byte[bytesFor(missing.length)];
        boolean any = false;
        for (int row = 0; row < missing.length; row++) {
            if (missing[row]) {
                set(bitmap, row);
                any = true;
            }
        }
        return any ? UnsafeByteOperations.unsafeWrap(bitmap) : ByteString.EMPTY;
    }

    static int count(ByteString bitmap) {
        int count = 0;
        for (int index = 0; index < bitmap.size(); index++) {
            count += Integer.bitCount(bitmap.byteAt(index) & 0xff);
        }
        return count;
    }

    /** Returns the first missing row; -1 if none is. */
    static int first(ByteString bitmap) {
        for (int index = 0; index < bitmap.size(); index++) {
            int octet = bitmap.byteAt(index) & 0xff;
            if (octet != 0) {
                return index * 8 + Integer.numberOfTrailingZeros(octet);
            }
        }
        return -1;
    }

    /** Tells whether a bit beyond the last row is 1, in a bitmap of the right length. */
    static boolean spareSet(ByteString bitmap, long rows) {
        int used = (int) (rows % 8);
        return used != 0 && !bitmap.isEmpty() && (bitmap.byteAt(bitmap.size() - 1) & 0xff) >> used != 0;
    }

    /** Returns the bits of rows start to stop (not included); empty if none of them is set. */
    static ByteString slice(ByteString bitmap, int start, int stop) {
        if (bitmap.isEmpty()) {
            return bitmap;
        }
        byte[] cut = new byte[bytesFor(stop - start)];
        return copy(bitmap, start, stop, cut, 0) ? UnsafeByteOperations.unsafeWrap(cut) : ByteString.EMPTY;
    }

    /** Copies the set bits of rows start to stop to row *at* and following; tells whether there was one. */
    static boolean copy(ByteString from, int start, int stop, byte[] to, int at) {
        boolean any = false;
        for (int row = start; row < stop; row++) {
            if (get(from, row)) {
                set(to, at + row - start);
                any = true;
            }
        }
        return any;
    }
}
