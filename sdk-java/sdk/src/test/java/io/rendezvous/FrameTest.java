package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.UnsafeByteOperations;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteOrder;
import java.nio.DoubleBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Frames beyond the vectors: views over received bytes, refusals, random tables. */
class FrameTest {
    /** A row that is not there is refused with its number and how many there are. */
    @Test
    void refusesRowsThatAreNotThere() {
        Frame frame = Frame.builder()
                .fp64("x", 1, 2)
                .missing(new boolean[] {true, false})
                .int64("i", 1, 2)
                .bool("b", true, false)
                .string("s", "a", "b")
                .build();
        for (int row : new int[] {-1, 2, 99}) {
            for (Column column : frame.columns()) {
                String said = "row " + row + " of column '" + column.name() + "': it has 2 rows, counted from 0";
                assertEquals(said, refusal(() -> column.isMissing(row)));
                assertEquals(said, refusal(() -> column.value(row)));
            }
            assertEquals(
                    "row " + row + " of column 'x': it has 2 rows, counted from 0",
                    refusal(() -> frame.fp64("x").get(row)));
            assertEquals(
                    "row " + row + " of column 's': it has 2 rows, counted from 0",
                    refusal(() -> frame.string("s").get(row)));
        }
    }

    private static String refusal(Executable code) {
        return assertThrows(IndexOutOfBoundsException.class, code).getMessage();
    }

    /** Values are read in place, also where they begin in the middle of a received message. */
    @Test
    void viewsReceivedBytes() throws IOException {
        byte[] wire = Frame.builder()
                .fp64("x", 1.5, -2.5)
                .int32("i", 7, -7)
                .bool("b", true, false)
                .build()
                .toProto()
                .toByteArray();
        CodedInputStream input = UnsafeByteOperations.unsafeWrap(wire).newCodedInput();
        input.enableAliasing(true);
        Frame frame = Frame.of(io.rendezvous.v1.Frame.parseFrom(input));
        DoubleBuffer buffer = frame.fp64("x").asBuffer();
        assertEquals(ByteOrder.LITTLE_ENDIAN, buffer.order());
        assertTrue(buffer.isReadOnly());
        assertEquals(-2.5, buffer.get(1));
        assertArrayEquals(new int[] {7, -7}, frame.int32("i").toArray());
        assertEquals(-7, frame.int32("i").asBuffer().get(1));
        assertArrayEquals(new boolean[] {true, false}, frame.bool("b").toArray());
        int at = indexOf(wire, 1.5);
        wire[at + 7] = 0x40; // the sign and exponent of the first element, in the received bytes themselves
        assertFalse(frame.fp64("x").get(0) == 1.5, "the view is over the received bytes");
    }

    private static int indexOf(byte[] wire, double value) {
        ByteString pattern = ByteString.copyFrom(
                java.nio.ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putDouble(0, value));
        for (int at = 0; at < wire.length - 8; at++) {
            if (ByteString.copyFrom(wire, at, 8).equals(pattern)) {
                return at;
            }
        }
        throw new AssertionError("not found");
    }

    /** A column read as another type, or one that is not there, is refused by name. */
    @Test
    void refusesMisreading() {
        Frame frame = Frame.builder()
                .int64("x", 1)
                .fp64("v", 1, 2)
                .shape(2)
                .string("s", "a")
                .build();
        SignatureMismatchException error = assertThrows(SignatureMismatchException.class, () -> frame.fp64("x"));
        assertEquals("column 'x' is INT64[], and was read as FP64", error.getMessage());
        assertEquals("x", error.attributes().get("column"));
        assertThrows(SignatureMismatchException.class, () -> frame.fp64("y"));
        assertThrows(SignatureMismatchException.class, () -> frame.fp64("v").get(0));
        assertThrows(SignatureMismatchException.class, () -> frame.column("s").number(0));
        assertThrows(IndexOutOfBoundsException.class, () -> frame.int64("x").get(1));
        assertThrows(IndexOutOfBoundsException.class, () -> frame.fp64("v").get(0, 2));
    }

    /** A missing row is null as a value, NaN as a number, and sent as zero bytes. */
    @Test
    void missingRows() {
        Frame frame = Frame.builder()
                .fp64("x", 1, 2, 3)
                .missing(new boolean[] {false, true, false})
                .string("s", "a", null, "")
                .column("i", ColumnType.INT16, Arrays.asList(1, null, -3))
                .build();
        Column x = frame.column("x");
        assertNull(x.value(1));
        assertTrue(Double.isNaN(x.number(1)));
        assertEquals(1, x.missingCount());
        assertEquals(0, frame.fp64("x").get(1));
        assertTrue(frame.string("s").isMissing(1));
        assertFalse(frame.string("s").isMissing(2));
        assertEquals(-3, frame.int16("i").get(2));
        assertArrayEquals(new boolean[] {false, true, false}, frame.column("i").missing());
    }

    /** Unsigned 64-bit numbers become the nearest double. */
    @Test
    void unsignedNumbers() {
        Frame frame = Frame.builder().uint64("u", -1L, 5L, Long.MIN_VALUE).build();
        assertEquals(18446744073709551615.0, frame.column("u").number(0));
        assertEquals(5.0, frame.column("u").number(1));
        assertEquals(9223372036854775808.0, frame.column("u").number(2));
    }

    static Stream<Arguments> refused() {
        return Stream.of(
                Arguments.of("300 in UINT8", (Runnable) () -> Frame.builder().uint8("x", 300), "300"),
                Arguments.of("-1 in UINT32", (Runnable) () -> Frame.builder().uint32("x", -1), "-1"),
                Arguments.of("no name", (Runnable) () -> Frame.builder().fp64("", 1), "no name"),
                Arguments.of(
                        "two names",
                        (Runnable) () -> Frame.builder().fp64("x", 1).fp64("x", 1),
                        "twice"),
                Arguments.of("shape first", (Runnable) () -> Frame.builder().shape(2), "add one first"),
                Arguments.of(
                        "unequal columns",
                        (Runnable) () ->
                                Frame.builder().fp64("x", 1).fp64("y", 1, 2).build(),
                        "'y'"),
                Arguments.of(
                        "short mask",
                        (Runnable) () -> Frame.builder()
                                .fp64("x", 1, 2)
                                .missing(new boolean[1])
                                .build(),
                        "mask"),
                Arguments.of(
                        "half a row",
                        (Runnable) () ->
                                Frame.builder().fp64("x", 1, 2, 3).shape(2).build(),
                        "need 16 bytes"),
                Arguments.of(
                        "text as number",
                        (Runnable) () -> Frame.builder().column("x", ColumnType.INT8, List.of("a")),
                        "String"),
                Arguments.of(
                        "a fraction as a whole",
                        (Runnable) () -> Frame.builder().column("x", ColumnType.INT8, List.of(1.5)),
                        "whole"),
                Arguments.of(
                        "too big",
                        (Runnable) () -> Frame.builder().column("x", ColumnType.INT64, List.of(BigInteger.TWO.pow(63))),
                        "does not fit"),
                Arguments.of("negative rows", (Runnable) () -> Frame.builder().rows(-1), "negative"));
    }

    /** What cannot be a frame is refused with INVALID_FRAME and a message that says why. */
    @ParameterizedTest(name = "{0}")
    @MethodSource
    void refused(String name, Runnable code, String expected) {
        InvalidFrameException error = assertThrows(InvalidFrameException.class, code::run, name);
        assertTrue(error.getMessage().contains(expected), error.getMessage());
    }

    /** Any number of rows may be claimed by columns without elements, but no more than an int holds. */
    @Test
    void refusesMoreRowsThanAnInt() {
        io.rendezvous.v1.Frame huge =
                io.rendezvous.v1.Frame.newBuilder().setRows(1L << 40).build();
        assertThrows(TooLargeException.class, () -> Frame.of(huge));
    }

    /** Random tables survive encoding, and joining after any cutting. */
    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
    void randomTables(long seed) throws IOException {
        Random random = new Random(seed);
        Frame frame = randomFrame(random, random.nextInt(60));
        Frame again = Frame.of(io.rendezvous.v1.Frame.parseFrom(frame.toProto().toByteArray()));
        assertEquals(frame, again);
        List<Integer> counts = new ArrayList<>();
        for (int left = frame.rows(); left > 0; left -= counts.get(counts.size() - 1)) {
            counts.add(random.nextInt(left + 1));
        }
        counts.add(0);
        List<Frame> parts =
                frame.split(counts.stream().mapToInt(Integer::intValue).toArray());
        assertEquals(frame, Frame.join(parts));
        FrameBuilder rebuilt = Frame.builder().rows(frame.rows());
        frame.columns().forEach(rebuilt::column);
        assertEquals(frame, rebuilt.build());
    }

    private static Frame randomFrame(Random random, int rows) {
        boolean[] mask = new boolean[rows];
        for (int row = 0; row < rows; row++) {
            mask[row] = random.nextInt(4) == 0;
        }
        String[] texts = new String[rows * 2];
        Arrays.setAll(texts, index -> random.nextInt(3) == 0 ? "" : "t" + random.nextInt());
        byte[][] blobs = new byte[rows][];
        Arrays.setAll(blobs, index -> random.nextInt(5) == 0 ? null : new byte[random.nextInt(4)]);
        return Frame.builder()
                .rows(rows)
                .fp64("d", random.doubles(rows).toArray())
                .missing(mask)
                .int64("l", random.longs(3L * rows).toArray())
                .shape(3, 1)
                .missing(random.nextBoolean() ? mask : null)
                .uint16("u", random.ints(rows, 0, 65536).toArray())
                .string("s", texts)
                .shape(2)
                .bytes("b", blobs)
                .fp64("hollow")
                .shape(0)
                .build();
    }

    /** Every half that is a number is the float it should be, and the float gives it back; the rest is rounded. */
    @Test
    void halves() {
        for (int half = 0; half < 0x10000; half++) {
            float wide = Half.toFloat(half);
            assertEquals((short) half, Half.fromFloat(wide), () -> "half");
        }
        assertEquals(0.5f, Half.toFloat(0x3800));
        assertEquals(5.9604645e-8f, Half.toFloat(1));
        assertEquals((short) 0x7c00, Half.fromFloat(65520f), "beyond the largest is infinite");
        assertEquals((short) 0x7bff, Half.fromFloat(65519f), "the largest");
        assertEquals((short) 0x3c00, Half.fromFloat(1.00048828125f), "ties go to the even neighbour");
        assertEquals((short) 0x0000, Half.fromFloat(2.9802322e-8f), "also below the smallest");
    }

    /** A frame tells its columns, selects them, and is what one frame of a join was. */
    @Test
    void names() {
        Frame frame = Frame.builder().fp64("a", 1).string("b", "x").build();
        assertEquals(List.of("a", "b"), frame.names());
        assertEquals(List.of("b"), frame.select(List.of("b")).names());
        assertEquals("Frame of 1 rows: a FP64, b STRING", frame.toString());
        assertSame(frame, Frame.join(List.of(frame)));
        assertSame(frame, frame.slice(0, 1));
        assertTrue(frame.has("a"));
        assertThrows(InvalidFrameException.class, () -> frame.slice(0, 2));
        assertThrows(InvalidFrameException.class, () -> frame.split(1, 1));
    }
}
