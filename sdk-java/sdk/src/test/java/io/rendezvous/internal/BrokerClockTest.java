package io.rendezvous.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.time.Instant;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The broker's present time, by no clock of this machine that somebody may set. */
@Timeout(20)
class BrokerClockTest {
    private static final long TOLD_US = 1_700_000_000_000_000L;

    private final ScheduledExecutorService upkeep = Executors.newScheduledThreadPool(1);
    private final AtomicLong monotonicNs = new AtomicLong(-5_000_000);

    @AfterEach
    void stop() {
        upkeep.shutdownNow();
    }

    private static Instant told(long unixUs) {
        return Instant.ofEpochSecond(unixUs / 1_000_000, unixUs % 1_000_000 * 1000);
    }

    /** The time told is that of half-way between question and answer, and goes on as the monotonic clock does. */
    @Test
    void carriesOn() throws Exception {
        BrokerClock clock = new BrokerClock(
                () -> {
                    monotonicNs.addAndGet(2_000_000);
                    return told(TOLD_US);
                },
                monotonicNs::get);
        clock.read();
        assertEquals(TOLD_US + 1000, clock.unixUs());
        monotonicNs.addAndGet(3_000_000_000L);
        assertEquals(TOLD_US + 3_001_000, clock.unixUs());
    }

    /** A failed first reading is tried again after a second, and nothing is read from the postbox before. */
    @Test
    void waitsForTheFirstReading() throws Exception {
        AtomicInteger readings = new AtomicInteger();
        BrokerClock clock = new BrokerClock(
                () -> {
                    if (readings.incrementAndGet() == 1) {
                        throw new IOException("timed out");
                    }
                    return told(TOLD_US);
                },
                monotonicNs::get);
        long started = System.nanoTime();
        assertTrue(clock.follow(new CountDownLatch(1), upkeep, () -> false));
        assertTrue(System.nanoTime() - started >= 900_000_000L);
        assertEquals(2, readings.get());
        assertEquals(TOLD_US, clock.unixUs());
    }

    /** After a reconnection it is read out of turn. */
    @Test
    void readsOutOfTurn() throws Exception {
        AtomicLong now = new AtomicLong(TOLD_US);
        BrokerClock clock = new BrokerClock(() -> told(now.get()), monotonicNs::get);
        clock.read();
        now.addAndGet(60_000_000);
        clock.readSoon(upkeep);
        long started = System.nanoTime();
        while (clock.unixUs() == TOLD_US) {
            assertTrue(System.nanoTime() - started < 10_000_000_000L, "not read");
            Thread.onSpinWait();
        }
        assertEquals(TOLD_US + 60_000_000, clock.unixUs());
    }

    /** Who is closed meanwhile does not wait on. */
    @Test
    void endsWaiting() {
        BrokerClock clock = new BrokerClock(
                () -> {
                    throw new IOException("timed out");
                },
                monotonicNs::get);
        assertThrows(InterruptedException.class, () -> clock.follow(new CountDownLatch(0), upkeep, () -> false));
    }

    /** Where the connection is closed for good nothing is waited for. */
    @Test
    void endsWithItsConnection() throws Exception {
        BrokerClock clock = new BrokerClock(
                () -> {
                    throw new IllegalStateException("closed");
                },
                monotonicNs::get);
        assertFalse(clock.follow(new CountDownLatch(1), upkeep, () -> true));
    }
}
