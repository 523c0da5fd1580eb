package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.lang.reflect.Array;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Frames, missing values and NaN, as the vectors have them. */
class FrameVectorsTest {
    /** A table encodes to the bytes of the vectors. */
    @TestFactory
    Stream<DynamicTest> encodes() {
        return valid(item -> {
            FrameBuilder builder = Frame.builder().rows(item.get("rows").getAsInt());
            Vectors.list(item.get("columns")).forEach(column -> add(builder, column.getAsJsonObject()));
            Frame frame = builder.build();
            assertEquals(Vectors.frame(item.get("wire")), frame.toProto());
        });
    }

    /** The bytes of the vectors decode to the table. */
    @TestFactory
    Stream<DynamicTest> decodes() {
        return valid(item -> {
            Frame frame = Frame.of(Vectors.frame(item.get("wire")));
            assertEquals(item.get("rows").getAsInt(), frame.rows());
            for (JsonElement expected : Vectors.list(item.get("columns"))) {
                assertColumn(expected.getAsJsonObject(), frame);
            }
        });
    }

    /** A frame that contradicts itself is refused with the code and the name of the column. */
    @TestFactory
    Stream<DynamicTest> refuses() {
        return Vectors.tests("frames", "invalid", item -> {
            io.rendezvous.v1.Frame frame = Vectors.frame(item.get("wire"));
            RendezvousException error = assertThrows(RendezvousException.class, () -> Frame.of(frame));
            assertEquals(item.get("error").getAsString(), error.code().name());
            assertEquals(item.get("column").getAsString(), error.attributes().getOrDefault("column", ""));
            assertTrue(error.getMessage().contains(item.get("column").getAsString()));
        });
    }

    /** Rows cut out of a frame keep which of them are missing. */
    @TestFactory
    Stream<DynamicTest> slices() {
        return Vectors.tests("missing", "slice", item -> {
            Frame cut = Frame.of(Vectors.frame(item.get("wire")))
                    .slice(item.get("start").getAsInt(), item.get("stop").getAsInt());
            assertEquals(Vectors.frame(item.get("expected")), cut.toProto());
        });
    }

    /** Joined frames keep which rows are missing, and come apart again. */
    @TestFactory
    Stream<DynamicTest> joins() {
        return Vectors.tests("missing", "join", item -> {
            List<Frame> parts = new ArrayList<>();
            Vectors.list(item.get("parts")).forEach(part -> parts.add(Frame.of(Vectors.frame(part))));
            Frame joined = Frame.join(parts);
            assertEquals(Vectors.frame(item.get("expected")), joined.toProto());
            assertEquals(
                    parts, joined.split(parts.stream().mapToInt(Frame::rows).toArray()));
        });
    }

    /** Every bit pattern of NaN is NaN and not missing, and keeps its bits on the way through. */
    @TestFactory
    Stream<DynamicTest> keepsNan() {
        return Vectors.tests("nans", null, item -> {
            Frame frame = Frame.of(Vectors.frame(item.get("wire")));
            Column column = frame.column("x");
            for (int row = 0; row < frame.rows(); row++) {
                assertEquals(Vectors.list(item.get("missing")).get(row).getAsBoolean(), column.isMissing(row));
                boolean isNan = Vectors.list(item.get("nan")).get(row).getAsBoolean();
                assertEquals(isNan, !column.isMissing(row) && Double.isNaN(column.number(row)));
            }
            FrameBuilder again = Frame.builder();
            switch (column.type()) {
                case FP64 -> again.fp64("x", frame.fp64("x").toArray());
                case FP32 -> again.fp32("x", frame.fp32("x").toArray());
                default -> again.fp16("x", frame.fp16("x").toArray());
            }
            assertEquals(frame, again.missing(column.missing()).build());
        });
    }

    private static Stream<DynamicTest> valid(java.util.function.Consumer<JsonObject> test) {
        return Stream.concat(Vectors.tests("frames", "valid", test), Vectors.tests("missing", "valid", test));
    }

    private static void assertColumn(JsonObject expected, Frame frame) {
        Column column = frame.column(expected.get("name").getAsString());
        assertEquals(expected.get("type").getAsString(), column.type().name());
        assertEquals(
                Vectors.list(expected.get("shape")).stream()
                        .map(JsonElement::getAsLong)
                        .toList(),
                column.shape());
        List<JsonElement> values = Vectors.list(expected.get("values"));
        for (int row = 0; row < values.size(); row++) {
            assertEquals(values.get(row).isJsonNull(), column.isMissing(row));
            if (column.isMissing(row)) {
                assertNull(column.value(row));
                continue;
            }
            List<Object> flat = new ArrayList<>();
            flatten(values.get(row), column.type(), flat);
            List<Object> actual = column.shape().isEmpty() ? List.of(column.value(row)) : boxed(column.value(row));
            assertArrayEquals(comparable(flat), comparable(actual));
        }
    }

    private static Object[] comparable(List<Object> values) {
        return values.stream()
                .map(value -> value instanceof byte[] bytes ? HexFormat.of().formatHex(bytes) : value)
                .toArray();
    }

    private static List<Object> boxed(Object array) {
        List<Object> list = new ArrayList<>();
        for (int index = 0; index < Array.getLength(array); index++) {
            list.add(Array.get(array, index));
        }
        return list;
    }

    private static void flatten(JsonElement value, ColumnType type, List<Object> flat) {
        if (value.isJsonArray()) {
            Vectors.list(value).forEach(element -> flatten(element, type, flat));
            return;
        }
        String text = value.getAsString();
        flat.add(
                switch (type) {
                    case BOOL -> value.getAsBoolean();
                    case STRING -> text;
                    case BYTES -> HexFormat.of().parseHex(text);
                    case FP64 -> Double.parseDouble(text);
                    case FP32, FP16 -> Float.parseFloat(text);
                    case INT64, UINT32 -> Long.parseLong(text);
                    case UINT64 -> Long.parseUnsignedLong(text);
                    default -> Integer.parseInt(text);
                });
    }

    /** Adds a column from flat arrays, shape and mask. */
    private static void add(FrameBuilder builder, JsonObject column) {
        String name = column.get("name").getAsString();
        ColumnType type = ColumnType.valueOf(column.get("type").getAsString());
        long[] shape = Vectors.list(column.get("shape")).stream()
                .mapToLong(JsonElement::getAsLong)
                .toArray();
        int each = 1;
        for (long dimension : shape) {
            each *= (int) dimension;
        }
        List<JsonElement> values = Vectors.list(column.get("values"));
        boolean[] mask = new boolean[values.size()];
        List<Object> flat = new ArrayList<>();
        for (int row = 0; row < mask.length; row++) {
            mask[row] = values.get(row).isJsonNull();
            if (mask[row]) {
                for (int element = 0; element < each; element++) {
                    flat.add(filler(type));
                }
            } else {
                flatten(values.get(row), type, flat);
            }
        }
        addFlat(builder, name, type, flat);
        builder.shape(shape).missing(mask);
    }

    /** Something that must not be seen: a missing row is sent as zero bytes or empty. */
    private static Object filler(ColumnType type) {
        return switch (type) {
            case BOOL -> true;
            case STRING -> "hidden";
            case BYTES -> new byte[] {7};
            case FP64 -> 7.0;
            case FP32, FP16 -> 7f;
            case INT64, UINT64, UINT32 -> 7L;
            default -> 7;
        };
    }

    private static void addFlat(FrameBuilder builder, String name, ColumnType type, List<Object> flat) {
        switch (type) {
            case BOOL -> {
                boolean[] booleans = new boolean[flat.size()];
                for (int index = 0; index < booleans.length; index++) {
                    booleans[index] = (boolean) flat.get(index);
                }
                builder.bool(name, booleans);
            }
            case STRING -> builder.string(name, flat.toArray(String[]::new));
            case BYTES -> builder.bytes(name, flat.toArray(byte[][]::new));
            case FP64 ->
                builder.fp64(name, flat.stream().mapToDouble(v -> (double) v).toArray());
            case FP32, FP16 -> addFloats(builder, name, type, flat);
            case INT64 -> builder.int64(name, longs(flat));
            case UINT64 -> builder.uint64(name, longs(flat));
            case UINT32 -> builder.uint32(name, longs(flat));
            case INT32 -> builder.int32(name, ints(flat));
            case INT16 -> builder.int16(name, ints(flat));
            case UINT16 -> builder.uint16(name, ints(flat));
            case INT8 -> builder.int8(name, ints(flat));
            case UINT8 -> builder.uint8(name, ints(flat));
            default -> throw new IllegalArgumentException(type.name());
        }
    }

    private static void addFloats(FrameBuilder builder, String name, ColumnType type, List<Object> flat) {
        float[] floats = new float[flat.size()];
        for (int index = 0; index < floats.length; index++) {
            floats[index] = (float) flat.get(index);
        }
        if (type == ColumnType.FP32) {
            builder.fp32(name, floats);
        } else {
            builder.fp16(name, floats);
        }
    }

    private static long[] longs(List<Object> flat) {
        return flat.stream().mapToLong(v -> (long) v).toArray();
    }

    private static int[] ints(List<Object> flat) {
        return flat.stream().mapToInt(v -> (int) v).toArray();
    }
}
