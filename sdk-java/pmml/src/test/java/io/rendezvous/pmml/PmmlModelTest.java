package io.rendezvous.pmml;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rendezvous.ColumnType;
import io.rendezvous.Frame;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.SignatureMismatchException;
import io.rendezvous.testing.Postbox;
import io.rendezvous.v1.ColumnSpec;
import io.rendezvous.v1.DataType;
import io.rendezvous.v1.ModelInfo;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A PMML tree as a model. */
class PmmlModelTest {
    private static final Path FILE = Path.of("src/test/resources/risk.pmml");

    /** The signature is the file's. */
    @Test
    void describes() {
        ModelInfo info = PmmlModel.load(FILE).info();
        assertEquals("classification", info.getTask());
        assertEquals("PMML file risk.pmml", info.getDescription());
        ColumnSpec duration = info.getSignature().getInputs(0);
        assertEquals("duration_months", duration.getName());
        assertEquals(DataType.DATA_TYPE_INT64, duration.getType());
        assertTrue(duration.getAllowMissing());
        assertEquals(DataType.DATA_TYPE_STRING, info.getSignature().getInputs(1).getType());
        assertEquals("default_probability", info.getSignature().getOutputs(1).getName());
    }

    /** Rows are scored by the file's tree; a missing value goes where the file sends it. */
    @Test
    void scores() {
        try (Postbox box = new Postbox(PmmlModel.load(FILE))) {
            Frame rows = Frame.builder()
                    .int64("duration_months", 12, 48, 48, 0)
                    .missing(new boolean[] {false, false, false, true})
                    .string("purpose", "car", "radio/TV", "car", "car")
                    .build();
            Frame outputs = box.score(rows).frame();
            assertArrayEquals(
                    new double[] {0.1, 0.7, 0.4, 0.1},
                    outputs.fp64("default_probability").toArray(),
                    1e-12);
            assertArrayEquals(
                    new String[] {"good", "bad", "good", "good"},
                    outputs.string("label").toArray());
        }
    }

    /** An input may be taken in the type that the endpoint has. */
    @Test
    void takesOtherTypes() {
        Frame rows = Frame.builder()
                .fp64("duration_months", 48)
                .string("purpose", "radio/TV")
                .build();
        PmmlModel model = PmmlModel.load(FILE);
        try (Postbox box = new Postbox(model)) {
            assertThrows(SignatureMismatchException.class, () -> box.score(rows));
        }
        try (Postbox box = new Postbox(model.withInput("duration_months", ColumnType.FP64))) {
            assertEquals("bad", box.score(rows).frame().string("label").get(0));
        }
        assertThrows(InvalidRequestException.class, () -> model.withInput("x", ColumnType.FP64));
    }

    /** What is no PMML is refused with the file's name. */
    @Test
    void refusesOtherFiles(@TempDir Path folder) throws IOException {
        Path other = Files.writeString(folder.resolve("other.pmml"), "<html/>");
        InvalidRequestException error = assertThrows(InvalidRequestException.class, () -> PmmlModel.load(other));
        assertTrue(error.getMessage().startsWith("other.pmml cannot be read as PMML"), error.getMessage());
        assertThrows(InvalidRequestException.class, () -> PmmlModel.load(folder.resolve("none.pmml")));
    }

    /** The program tells in one line why it cannot serve a file. */
    @Test
    @Timeout(60)
    void tellsWhy(@TempDir Path folder) throws IOException, InterruptedException {
        Path output = folder.resolve("output");
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        PmmlModel.class.getName(),
                        folder.resolve("none.pmml").toString())
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        assertEquals(1, process.waitFor());
        assertEquals(
                "PmmlModel: none.pmml cannot be read: give the path of a PMML file",
                Files.readString(output).strip());
    }
}
