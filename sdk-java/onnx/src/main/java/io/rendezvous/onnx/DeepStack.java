package io.rendezvous.onnx;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.function.Supplier;

/**
 * Runs what starts ONNX Runtime where the stack is deep enough.
 *
 * <p>The library (1.29.0) matches the process's command line with a regular expression that recurses for every
 * character, and so ends the JVM with SIGSEGV in a thread of the usual 1 MiB when the line is longer than some 3,500
 * characters: a class path easily is.
 */
final class DeepStack {
    private static final Path COMMAND_LINE = Path.of("/proc/self/cmdline");
    private static final long LEAST_BYTES = 16L << 20;
    private static final long BYTES_PER_CHARACTER = 1024;

    private DeepStack() {}

    /** Returns what the code returns, or throws what it throws; waits for it even when interrupted. */
    static <T> T call(Supplier<T> code) {
        FutureTask<T> task = new FutureTask<>(code::get);
        Thread thread = new Thread(null, task, "rendezvous-onnx-load", stackBytes());
        thread.setDaemon(true);
        thread.start();
        return result(task);
    }

    private static <T> T result(FutureTask<T> task) {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    return task.get();
                } catch (InterruptedException error) {
                    interrupted = true; // a half-loaded library cannot be given up
                } catch (ExecutionException error) {
                    throw unchecked(error.getCause());
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static RuntimeException unchecked(Throwable cause) {
        if (cause instanceof Error error) {
            throw error;
        }
        return (RuntimeException) cause; // a Supplier throws nothing else
    }

    private static long stackBytes() {
        try {
            return LEAST_BYTES + BYTES_PER_CHARACTER * Files.readAllBytes(COMMAND_LINE).length;
        } catch (IOException error) {
            return LEAST_BYTES; // not Linux: there the library reads no command line
        }
    }
}
