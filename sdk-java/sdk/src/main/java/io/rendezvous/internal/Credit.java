package io.rendezvous.internal;

import java.util.List;
import java.util.concurrent.TimeUnit;

/** How many parcels may be taken ahead of scoring. */
final class Credit {
    private static final long AHEAD_NS = TimeUnit.MILLISECONDS.toNanos(20);
    private static final int MOST = 64;

    private Credit() {}

    /**
     * Returns as many as are scored in 20 ms, at most twice as many as now.
     *
     * <p>What waits is scored as one table, so that more is taken ahead in a backlog of cheap parcels. A replica that
     * dies delays what it had taken by ack_wait; where one did, or nothing is to be taken ahead, it stays at the least.
     *
     * @param present the credit now
     * @param least the configured credit; 1 is kept, whatever the model's speed
     * @param scored what was scored just now
     * @param tookNs how long that took
     */
    static int next(int present, int least, List<Waiting> scored, long tookNs) {
        if (least == 1 || scored.stream().anyMatch(parcel -> parcel.delivery.number() > 1)) {
            return least;
        }
        long affordable = AHEAD_NS * scored.size() / Math.max(tookNs, 1000);
        return (int) Math.max(least, Math.min(affordable, Math.min(2L * present, MOST)));
    }
}
