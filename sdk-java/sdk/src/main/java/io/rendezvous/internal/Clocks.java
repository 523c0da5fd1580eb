package io.rendezvous.internal;

import java.time.Instant;
import java.time.temporal.ChronoUnit;

/** The wall clock, microseconds since 1970-01-01 UTC. */
public final class Clocks {
    private Clocks() {}

    /** Returns the present time by this machine's clock. */
    public static long unixUs() {
        return unixUs(Instant.now());
    }

    /** Returns a moment as microseconds. */
    public static long unixUs(Instant moment) {
        return ChronoUnit.MICROS.between(Instant.EPOCH, moment);
    }
}
