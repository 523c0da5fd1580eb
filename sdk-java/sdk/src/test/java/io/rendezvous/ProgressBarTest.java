package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

/** The line of text that shows progress, in virtual time. */
class ProgressBarTest {
    /** A program that scores nothing, and shows it. */
    static final class Program {
        private Program() {}

        public static void main(String[] arguments) {
            ProgressBar.onTerminal().onProgress(5, 0, 5);
        }
    }

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final AtomicLong clockNs = new AtomicLong();
    private final ProgressBar bar = new ProgressBar(new PrintStream(bytes, true, StandardCharsets.UTF_8), clockNs::get);

    private void tell(long atMs, int done, int failed) {
        clockNs.set(atMs * 1_000_000);
        bar.onProgress(done, failed, 1_000_000);
    }

    /** It tells share, rows, pace and time left, redraws ten times a second at most, and ends its line once. */
    @Test
    void draws() {
        tell(0, 0, 0);
        tell(50, 10_000, 0);
        tell(10_000, 250_000, 0);
        tell(10_099, 260_000, 0);
        tell(10_100, 500_000, 1_000);
        tell(20_000, 1_000_000, 1_000);
        tell(20_000, 1_000_000, 1_000);
        List<String> lines = List.of(
                "[--------------------]   0 %  0 of 1,000,000 rows",
                "[#####---------------]  25 %  250,000 of 1,000,000 rows  25,000 rows/s  0:30 left",
                "[##########----------]  50 %  500,000 of 1,000,000 rows, 1,000 failed  49,505 rows/s  0:10 left",
                "[####################] 100 %  1,000,000 of 1,000,000 rows, 1,000 failed  50,000 rows/s");
        List<String> drawn = bytes.toString(StandardCharsets.UTF_8)
                .lines()
                .flatMap(line -> List.of(line.split("\r")).stream())
                .map(String::stripTrailing)
                .filter(line -> !line.isEmpty())
                .toList();
        assertEquals(lines, drawn);
        String all = bytes.toString(StandardCharsets.UTF_8);
        assertEquals(1, all.chars().filter(character -> character == '\n').count());
    }

    /** What was longer is wiped out by what follows. */
    @Test
    void wipes() {
        tell(1000, 0, 0);
        tell(2000, 1_000, 0);
        tell(3000, 1_000_000, 0);
        String[] drawn = bytes.toString(StandardCharsets.UTF_8).stripTrailing().split("\r");
        assertEquals("[--------------------]   0 %  1,000 of 1,000,000 rows  1,000 rows/s  16:39 left", drawn[2]);
        String last = bytes.toString(StandardCharsets.UTF_8).lines().reduce("", (first, second) -> second);
        assertEquals(
                drawn[2].length(), last.substring(last.lastIndexOf('\r') + 1).length());
    }

    /** Where standard error is no terminal, nothing is shown. */
    @Test
    void staysSilentInPipes() throws Exception {
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Program.class.getName())
                .redirectErrorStream(true)
                .start();
        assertEquals("", new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
        assertEquals(0, process.waitFor());
    }
}
