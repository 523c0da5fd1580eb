package io.rendezvous;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/**
 * Shows progress as one line of text: share, rows, rows a second, time left.
 *
 * <pre>
 * [############--------]  60 %  600,000 of 1,000,000 rows  52,310 rows/s  0:08 left
 * </pre>
 *
 * <p>For one table. Thread-safe where it is called by one thread at a time, as clients do.
 */
public final class ProgressBar implements TableProgress {
    private static final int CELLS = 20;
    private static final long REDRAW_NS = TimeUnit.MILLISECONDS.toNanos(100);
    private static final Path STANDARD_ERROR = Path.of("/proc/self/fd/2");

    private final PrintStream output;
    private final LongSupplier clockNs;
    private long startedNs;
    private long drawnNs;
    private boolean started;
    private boolean ended;
    private int shown;

    ProgressBar(PrintStream output, LongSupplier clockNs) {
        this.output = output;
        this.clockNs = clockNs;
    }

    /**
     * Makes a bar on standard error, if that is a terminal.
     *
     * @return a bar, or what shows nothing where standard error goes to a file or another program
     */
    public static TableProgress onTerminal() {
        return isTerminal() ? new ProgressBar(System.err, System::nanoTime) : NONE;
    }

    /**
     * Draws the line anew, at most ten times a second, and ends it with the last row.
     *
     * @param done rows that were answered or have failed
     * @param failed how many of these have failed
     * @param total rows of the table
     */
    @Override
    public void onProgress(int done, int failed, int total) {
        long now = clockNs.getAsLong();
        if (!started) {
            started = true;
            startedNs = now;
        } else if (ended || done < total && now - drawnNs < REDRAW_NS) {
            return;
        }
        drawnNs = now;
        String line = line(done, failed, total, (now - startedNs) / 1e9);
        output.print("\r" + line + " ".repeat(Math.max(0, shown - line.length())));
        shown = line.length();
        if (done == total) {
            ended = true;
            output.println();
        }
        output.flush();
    }

    private static String line(int done, int failed, int total, double seconds) {
        double share = total == 0 ? 1 : (double) done / total;
        int full = (int) (share * CELLS);
        StringBuilder line = new StringBuilder("[");
        line.append("#".repeat(full)).append("-".repeat(CELLS - full));
        line.append(String.format(Locale.ROOT, "] %3d %%  %,d of %,d rows", (int) (share * 100), done, total));
        if (failed > 0) {
            line.append(String.format(Locale.ROOT, ", %,d failed", failed));
        }
        if (done > 0 && seconds > 0) {
            double pace = done / seconds;
            line.append(String.format(Locale.ROOT, "  %,d rows/s", Math.round(pace)));
            if (done < total) {
                long left = Math.round((total - done) / pace);
                line.append(String.format(Locale.ROOT, "  %d:%02d left", left / 60, left % 60));
            }
        }
        return line.toString();
    }

    /** Java 17 tells only of standard input and output together; Linux tells of each. */
    private static boolean isTerminal() {
        if ("dumb".equals(System.getenv("TERM"))) {
            return false;
        }
        if (!Files.exists(STANDARD_ERROR)) {
            return System.console() != null;
        }
        try {
            String target = STANDARD_ERROR.toRealPath().toString();
            return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty") || target.equals("/dev/console");
        } catch (IOException error) {
            return false; // a pipe or a socket has no path
        }
    }
}
