package io.rendezvous.onnx;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rendezvous.Frame;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.SignatureMismatchException;
import io.rendezvous.onnx.OnnxFile.Tensor;
import io.rendezvous.testing.Postbox;
import io.rendezvous.v1.DataType;
import io.rendezvous.v1.ModelInfo;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** ONNX files as models. */
class OnnxModelTest {
    @TempDir
    private Path folder;

    private OnnxModel load(String operation, Tensor output, Tensor... inputs) throws IOException {
        return OnnxModel.load(OnnxFile.write(folder.resolve("net.onnx"), operation, output, inputs));
    }

    /** A file with one matrix gets all columns side by side, converted; a missing number is NaN. */
    @Test
    void joinsColumns() throws IOException {
        OnnxModel model = load("Neg", new Tensor("y", OnnxFile.FLOAT, 0, 3), new Tensor("X", OnnxFile.FLOAT, 0, 3));
        ModelInfo info = model.info();
        assertEquals("ONNX file net.onnx", info.getDescription());
        assertEquals(0, info.getSignature().getInputsCount());
        assertEquals(3, info.getSignature().getOutputs(0).getShape(0));
        try (Postbox box = new Postbox(model)) {
            Frame rows = Frame.builder()
                    .fp64("a", 1.5, 0)
                    .missing(new boolean[] {false, true})
                    .int32("b", 2, 5)
                    .bool("c", true, false)
                    .build();
            assertArrayEquals(
                    new float[] {-1.5f, -2, -1, Float.NaN, -5, -0f},
                    box.score(rows).frame().fp32("y").toArray());
            Frame matrix = Frame.builder().fp64("X", 1, 2, 3).shape(3).build();
            assertEquals(-3, box.score(matrix).frame().fp32("y").get(0, 2));
            Frame text = Frame.builder().string("a", "x").build();
            assertThrows(SignatureMismatchException.class, () -> box.score(text));
        }
    }

    /** A file with several inputs declares them and gets each by its name; whole numbers stay exact. */
    @Test
    void takesColumnsByName() throws IOException {
        OnnxModel model = load(
                "Add",
                new Tensor("sum", OnnxFile.INT64, 0),
                new Tensor("a", OnnxFile.INT64, 0),
                new Tensor("b", OnnxFile.INT64, 0));
        assertEquals(
                DataType.DATA_TYPE_INT64,
                model.info().getSignature().getInputs(1).getType());
        try (Postbox box = new Postbox(model)) {
            Frame rows = Frame.builder()
                    .int64("b", 1, 2)
                    .int64("a", (1L << 53) + 1, -2)
                    .build();
            assertArrayEquals(
                    new long[] {(1L << 53) + 2, 0},
                    box.score(rows).frame().int64("sum").toArray());
            Frame missing = Frame.builder()
                    .int64("b", 1)
                    .int64("a", 1)
                    .missing(new boolean[] {true})
                    .build();
            assertThrows(SignatureMismatchException.class, () -> box.score(missing));
        }
    }

    /** A matrix of one column holds scalars; doubles and text keep their types. */
    @Test
    void keepsTypes() throws IOException {
        OnnxModel doubles = load("Abs", new Tensor("y", OnnxFile.DOUBLE, 0, 1), new Tensor("x", OnnxFile.DOUBLE, 0, 1));
        try (Postbox box = new Postbox(doubles)) {
            Frame rows = Frame.builder().fp64("x", -0.1, 2).build();
            assertArrayEquals(
                    new double[] {0.1, 2}, box.score(rows).frame().fp64("y").toArray());
        }
        OnnxModel texts =
                load("Identity", new Tensor("y", OnnxFile.STRING, 0, 2), new Tensor("x", OnnxFile.STRING, 0, 2));
        try (Postbox box = new Postbox(texts)) {
            Frame rows = Frame.builder().string("a", "Zürich").string("b", "").build();
            assertEquals("Zürich", box.score(rows).frame().string("y").get(0, 0));
        }
    }

    /** What is no ONNX file is refused with the file's name. */
    @Test
    void refusesOtherFiles() throws IOException {
        Path other = Files.writeString(folder.resolve("other.onnx"), "no");
        InvalidRequestException error = assertThrows(InvalidRequestException.class, () -> OnnxModel.load(other));
        assertTrue(error.getMessage().startsWith("other.onnx cannot be read as ONNX"), error.getMessage());
        assertThrows(InvalidRequestException.class, () -> OnnxModel.load(folder.resolve("none.onnx")));
    }
}
