package io.rendezvous.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rendezvous.OverloadedException;
import io.rendezvous.RendezvousException;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The model's thread: order, limits, what is left behind. */
@Timeout(20)
class ModelThreadTest {
    private final ModelThread thread = new ModelThread(Duration.ofMillis(50));
    private final AtomicBoolean released = new AtomicBoolean();

    @AfterEach
    void stop() {
        released.set(true);
        thread.stop();
    }

    private CompletableFuture<Object> submit(Callable<Object> code) {
        CompletableFuture<Object> result = new CompletableFuture<>();
        thread.submit(new ModelThread.Work() {
            @Override
            public void run() {
                try {
                    result.complete(thread.call(code));
                } catch (Throwable error) {
                    result.completeExceptionally(error);
                }
            }

            @Override
            public void abandon(RendezvousException error) {
                result.complete(error.getMessage());
            }
        });
        return result;
    }

    private <T> T watched(CompletableFuture<T> result) throws Exception {
        while (!result.isDone()) {
            thread.watch();
            Thread.onSpinWait();
        }
        return result.get();
    }

    /** Code that takes too long is interrupted, and the thread goes on. */
    @Test
    void interrupts() throws Exception {
        CompletableFuture<Object> sleeps = submit(() -> {
            Thread.sleep(60_000);
            return "slept";
        });
        Exception error = assertThrows(Exception.class, () -> watched(sleeps));
        assertEquals(
                "the model took longer than 0.05 s (its scoring limit)",
                error.getCause().getMessage());
        assertEquals("next", watched(submit(() -> "next")));
    }

    /** Code that swallows its interruption and answers late has failed all the same. */
    @Test
    void lateAnswersDoNotCount() {
        CompletableFuture<Object> swallows = submit(() -> {
            try {
                Thread.sleep(60_000);
            } catch (InterruptedException error) {
                return "late";
            }
            return "slept";
        });
        Exception error = assertThrows(Exception.class, () -> watched(swallows));
        assertTrue(error.getCause() instanceof ScoringGuard.LimitExceeded);
    }

    /** Code that does not heed its interruption is left behind; its work is answered, and a new thread goes on. */
    @Test
    void leavesBehind() throws Exception {
        CompletableFuture<Object> hangs = submit(() -> {
            while (!released.get()) {
                Thread.onSpinWait();
            }
            return "back";
        });
        CompletableFuture<Object> next = submit(() -> "next");
        assertEquals("the model took longer than 0.05 s (its scoring limit)", watched(hangs));
        assertEquals("next", watched(next));
    }

    /** An interruption that came in the last moment does not hit what comes next. */
    @Test
    void interruptionsDoNotLeak() throws Exception {
        for (int turn = 0; turn < 20; turn++) {
            CompletableFuture<Object> short1 = submit(() -> {
                Thread.sleep(49);
                return "done";
            });
            try {
                watched(short1);
            } catch (java.util.concurrent.ExecutionException error) {
                assertTrue(error.getCause() instanceof ScoringGuard.LimitExceeded);
            }
            CompletableFuture<Object> clean =
                    submit(() -> Thread.currentThread().isInterrupted());
            assertEquals(false, clean.get(5, TimeUnit.SECONDS));
        }
    }

    /** Whoever can be told to come again is told so when too much waits. */
    @Test
    void refusesTooMuch() {
        CountDownLatch gate = new CountDownLatch(1);
        thread.submit(() -> {
            try {
                gate.await();
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        });
        assertThrows(OverloadedException.class, () -> {
            for (int count = 0; count < 10_000; count++) {
                thread.offer(() -> {});
            }
        });
        gate.countDown();
    }
}
