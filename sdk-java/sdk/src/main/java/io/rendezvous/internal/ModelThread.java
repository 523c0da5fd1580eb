package io.rendezvous.internal;

import io.rendezvous.ModelFailedException;
import io.rendezvous.OverloadedException;
import io.rendezvous.RendezvousException;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The one thread in which a model runs; what the network does goes on beside it.
 *
 * <p>Work runs in the order in which it was submitted. The author's code runs through {@link #call}: when it takes
 * longer than its limit it is interrupted, and when it does not heed that, its thread is left behind, its work is
 * answered from outside, and a new thread goes on (P24a). All threads are daemons: a model that hangs does not keep
 * the process from ending.
 */
public final class ModelThread implements ScoringGuard {
    private static final Logger LOG = LoggerFactory.getLogger(ModelThread.class);
    private static final long GRACE_NS = 500_000_000L;
    private static final int MOST_WAITING = 4096;

    /** Something to be done on the model's thread. */
    public interface Work {
        /** Does it; must not throw. */
        void run();

        /**
         * Answers in its place, on another thread, because the author's code never came back.
         *
         * @param error what to answer
         */
        default void abandon(RendezvousException error) {}
    }

    private final LinkedBlockingQueue<Work> queue = new LinkedBlockingQueue<>();
    private final Duration limit;
    private volatile Runner runner;
    private volatile boolean stopped;

    /**
     * Starts the thread.
     *
     * @param limit most time for one call of the author's code
     */
    public ModelThread(Duration limit) {
        this.limit = limit;
        this.runner = new Runner();
        runner.start();
    }

    /** Queues work. */
    public void submit(Work work) {
        queue.add(work);
    }

    /**
     * Queues work of a caller that can be told to come again.
     *
     * @param work what to do
     * @throws OverloadedException too much is waiting
     */
    public void offer(Work work) {
        if (queue.size() >= MOST_WAITING) {
            throw new OverloadedException(
                    MOST_WAITING + " requests wait for the model, which is the limit: try again later",
                    Map.of("limit", MOST_WAITING));
        }
        queue.add(work);
    }

    /** Runs code on the model's thread, without a limit; the future tells how it ended. */
    public CompletableFuture<Void> run(Callable<?> code) {
        CompletableFuture<Void> done = new CompletableFuture<>();
        queue.add(() -> {
            try {
                code.call();
                done.complete(null);
            } catch (Throwable error) {
                done.completeExceptionally(error);
            }
        });
        return done;
    }

    @Override
    public <T> T call(Callable<T> code) throws Exception {
        Runner mine = (Runner) Thread.currentThread();
        mine.begin();
        T result;
        try {
            result = code.call();
        } catch (Throwable error) {
            mine.finish();
            throw error;
        }
        mine.finish();
        return result;
    }

    @Override
    public boolean isLeftBehind() {
        return Thread.currentThread() instanceof Runner mine && mine.isLeftBehind();
    }

    /** Looks whether the author's code takes too long; called now and then by a timer. */
    public void watch() {
        Runner watched = runner;
        switch (watched.judge(limit)) {
            case INTERRUPTED ->
                LOG.warn("the model has been scoring for more than {}: interrupted", Durations.text(limit));
            case LEFT_BEHIND -> {
                LOG.error("the model does not heed its interruption: its thread is left behind, a new one goes on");
                Work work = watched.work;
                replace();
                if (work != null) {
                    work.abandon(new ModelFailedException(new LimitExceeded(limit).getMessage()));
                }
            }
            default -> {}
        }
    }

    /** Ends the thread after what it is at; does not wait for it. */
    public void stop() {
        stopped = true;
        queue.add(() -> {});
    }

    private void replace() {
        Runner next = new Runner();
        runner = next;
        next.start();
    }

    private enum Verdict {
        FINE,
        INTERRUPTED,
        LEFT_BEHIND
    }

    private final class Runner extends Thread {
        private volatile Work work;
        private boolean calling;
        private boolean interruptedByUs;
        private boolean leftBehind;
        private long startedNs;

        Runner() {
            super("rendezvous-model");
            setDaemon(true);
        }

        @Override
        public void run() {
            while (!stopped && !isLeftBehind()) {
                try {
                    work = queue.take();
                } catch (InterruptedException error) {
                    continue; // the author's code left its own interruption behind
                }
                runGuarded(work);
                work = null;
            }
        }

        private void runGuarded(Work current) {
            try {
                current.run();
            } catch (Throwable error) {
                LOG.error("a fault of this SDK, please report it", error);
                current.abandon(ParcelScorer.modelFailed(error));
            }
        }

        private synchronized boolean isLeftBehind() {
            return leftBehind;
        }

        private synchronized void begin() throws LimitExceeded {
            if (leftBehind) {
                throw new LimitExceeded(limit);
            }
            calling = true;
            interruptedByUs = false;
            startedNs = System.nanoTime();
        }

        private synchronized void finish() throws LimitExceeded {
            calling = false;
            Thread.interrupted();
            if (interruptedByUs || leftBehind) {
                throw new LimitExceeded(limit);
            }
        }

        private synchronized Verdict judge(Duration most) {
            long ranNs = System.nanoTime() - startedNs;
            if (!calling || leftBehind || ranNs < most.toNanos()) {
                return Verdict.FINE;
            }
            if (!interruptedByUs) {
                interruptedByUs = true;
                interrupt();
                return Verdict.INTERRUPTED;
            }
            if (ranNs < most.toNanos() + GRACE_NS) {
                return Verdict.FINE;
            }
            leftBehind = true;
            return Verdict.LEFT_BEHIND;
        }
    }
}
