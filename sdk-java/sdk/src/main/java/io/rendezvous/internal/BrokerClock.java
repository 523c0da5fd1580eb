package io.rendezvous.internal;

import io.nats.client.JetStreamApiException;
import java.io.IOException;
import java.time.Instant;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The broker's present time: read from it now and then, carried on by a clock that nobody sets (P71). Thread-safe. */
final class BrokerClock {
    private static final Logger LOG = LoggerFactory.getLogger(BrokerClock.class);
    private static final long REFRESH_MS = 30_000;
    private static final long RETRY_MS = 1000;

    private final Source source;
    private final LongSupplier monotonicNs;
    private volatile long offsetUs;

    /** Asks the broker for its time. */
    interface Source {
        Instant read() throws IOException, JetStreamApiException;
    }

    BrokerClock(Source source, LongSupplier monotonicNs) {
        this.source = source;
        this.monotonicNs = monotonicNs;
    }

    /** The broker's present time, microseconds since 1970-01-01 UTC; to be asked only after the first reading. */
    long unixUs() {
        return offsetUs + Math.floorDiv(monotonicNs.getAsLong(), 1000L);
    }

    /** Reads the broker's time; it was told half-way between question and answer. */
    void read() throws IOException, JetStreamApiException {
        long sentNs = monotonicNs.getAsLong();
        Instant told = source.read();
        long middleNs = sentNs + (monotonicNs.getAsLong() - sentNs) / 2;
        offsetUs = Clocks.unixUs(told) - Math.floorDiv(middleNs, 1000L);
    }

    /**
     * Waits for the first reading, then reads again every 30 s, after a failure every second.
     *
     * @param isLost whether the connection is closed for good: nothing is read any more
     * @return false: it was lost before the first reading
     */
    boolean follow(CountDownLatch closing, ScheduledExecutorService upkeep, BooleanSupplier isLost)
            throws InterruptedException {
        while (!tryRead()) {
            if (isLost.getAsBoolean()) {
                return false;
            }
            if (closing.await(RETRY_MS, TimeUnit.MILLISECONDS)) {
                throw new InterruptedException("closed while waiting for the broker's time");
            }
        }
        later(upkeep, REFRESH_MS, isLost);
        return true;
    }

    /** Reads out of turn: after a reconnection it may be another server's time. */
    void readSoon(ScheduledExecutorService upkeep) {
        try {
            upkeep.execute(this::tryRead);
        } catch (RejectedExecutionException error) {
            LOG.debug("broker's clock not read: this replica has stopped");
        }
    }

    private void later(ScheduledExecutorService upkeep, long pauseMs, BooleanSupplier isLost) {
        Runnable reading = () -> {
            if (!isLost.getAsBoolean()) {
                later(upkeep, tryRead() ? REFRESH_MS : RETRY_MS, isLost);
            }
        };
        try {
            upkeep.schedule(reading, pauseMs, TimeUnit.MILLISECONDS);
        } catch (RejectedExecutionException error) {
            LOG.debug("broker's clock not read: this replica has stopped");
        }
    }

    private boolean tryRead() {
        try {
            read();
            return true;
        } catch (IOException | JetStreamApiException | IllegalStateException error) {
            LOG.warn("the broker's clock was not read, tried again in {} ms: {}", RETRY_MS, error.toString());
            return false;
        }
    }
}
