package io.rendezvous.onnx;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.rendezvous.Frame;
import io.rendezvous.onnx.OnnxFile.Tensor;
import io.rendezvous.testing.Postbox;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** ONNX files in a process of their own. */
@Timeout(120)
class LongCommandLineTest {
    @TempDir
    private Path folder;

    /** What the child process runs: loads a file and scores with it. */
    static final class Child {
        private Child() {}

        public static void main(String[] arguments) {
            try (Postbox box = new Postbox(OnnxModel.load(Path.of(arguments[0])))) {
                Frame rows = Frame.builder().fp64("x", -0.5).build();
                System.out.println(box.score(rows).frame().fp64("y").get(0));
            }
        }
    }

    /** However long the command line is, a file is loaded and scored. */
    @ParameterizedTest(name = "{0} characters")
    @ValueSource(ints = {0, 5_000, 120_000})
    void scores(int characters) throws Exception {
        Path file = OnnxFile.write(
                folder.resolve("net.onnx"),
                "Abs",
                new Tensor("y", OnnxFile.DOUBLE, 0, 1),
                new Tensor("x", OnnxFile.DOUBLE, 0, 1));
        assertEquals("0 0.5", run(Child.class, characters, file));
    }

    /** The program tells in one line why it cannot serve a file. */
    @Test
    void tellsWhy() throws Exception {
        assertEquals(
                "1 OnnxModel: none.onnx cannot be read: give the path of an ONNX file",
                run(OnnxModel.class, 5_000, folder.resolve("none.onnx")));
    }

    /** Exit status and output of a process. */
    private String run(Class<?> program, int characters, Path file) throws IOException, InterruptedException {
        Path output = folder.resolve("output");
        Process process = new ProcessBuilder(List.of(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:-CreateCoredumpOnCrash",
                        "-XX:ErrorFile=" + folder.resolve("crash.log"),
                        "-Dfiller=" + "x".repeat(characters),
                        "-cp",
                        System.getProperty("java.class.path"),
                        program.getName(),
                        file.toString()))
                .directory(folder.toFile())
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        int status = process.waitFor();
        return status + " " + Files.readString(output).strip();
    }
}
