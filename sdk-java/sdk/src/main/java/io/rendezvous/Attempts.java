package io.rendezvous;

import io.rendezvous.internal.GrpcErrors;
import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** The attempts of one call: how long each may take, and how long to pause before the next. Not thread-safe. */
final class Attempts {
    private static final long LEAST_ATTEMPT_NS = 1_000_000L;
    private static final Duration MOST = Duration.ofDays(365);

    private final long deadlineNs;
    private final long lastPauseNs;
    private long pauseNs;

    Attempts(ClientOptions options, Duration timeout) {
        Duration limit = timeout == null ? options.timeout() : timeout;
        this.deadlineNs = System.nanoTime() + boundedNs(limit);
        this.pauseNs = boundedNs(options.firstPause());
        this.lastPauseNs = boundedNs(options.lastPause());
    }

    /** A duration in nanoseconds, with which one can reckon: more than a year is a year. */
    static long boundedNs(Duration duration) {
        return (duration.compareTo(MOST) > 0 ? MOST : duration).toNanos();
    }

    /** Nanoseconds left for an attempt that begins now. */
    long leftNs() {
        return Math.max(LEAST_ATTEMPT_NS, deadlineNs - System.nanoTime());
    }

    /** Nanoseconds to pause before the next attempt; -1 if another one makes no sense or has no time (P83). */
    long pauseAfterNs(RendezvousException error) {
        long jittered = Math.round(pauseNs * ThreadLocalRandom.current().nextDouble(0.5, 1.5));
        long pause = GrpcErrors.retryAfterNs(error) + jittered;
        pauseNs = Math.min(pauseNs * 2, lastPauseNs);
        // NO_ANSWER came at the deadline of whoever asked: there is nothing left to retry in.
        boolean worthwhile = error.retryable() && error.code() != ErrorCode.NO_ANSWER;
        return worthwhile && System.nanoTime() + pause < deadlineNs ? pause : -1;
    }
}
