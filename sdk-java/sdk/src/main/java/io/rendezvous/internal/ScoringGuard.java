package io.rendezvous.internal;

import java.time.Duration;
import java.util.concurrent.Callable;

/** Runs the author's code under a limit of time. */
public interface ScoringGuard {
    /** Runs it without a limit. */
    ScoringGuard NONE = new ScoringGuard() {
        @Override
        public <T> T call(Callable<T> code) throws Exception {
            return code.call();
        }
    };

    /**
     * Runs the author's code on this thread.
     *
     * @param code what to run
     * @param <T> type of its result
     * @return its result
     * @throws LimitExceeded it was interrupted because it took too long
     * @throws Exception whatever it throws by itself
     */
    <T> T call(Callable<T> code) throws Exception;

    /** Tells whether this thread was given up, and its work answered from outside. */
    default boolean isLeftBehind() {
        return false;
    }

    /** The author's code took longer than its limit. */
    final class LimitExceeded extends Exception {
        private static final long serialVersionUID = 1L;

        /**
         * Makes the error.
         *
         * @param limit the limit
         */
        public LimitExceeded(Duration limit) {
            super("the model took longer than " + Durations.text(limit) + " (its scoring limit)");
        }
    }
}
