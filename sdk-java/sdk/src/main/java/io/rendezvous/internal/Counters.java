package io.rendezvous.internal;

import io.rendezvous.ErrorCode;
import io.rendezvous.v1.ItemScore;
import io.rendezvous.v1.ParcelScore;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a replica has done, and how fast: running totals and the durations of the last 512 parcels. Thread-safe. */
public final class Counters {
    private static final int WINDOW = 512;

    private final long[] durationsUs = new long[WINDOW];
    private long parcels;
    private long scoredItems;
    private long scoredRows;
    private long failedItems;
    private long expiredItems;

    /** Counts a parcel that was answered. */
    public synchronized void count(ParcelScore score, long receivedUnixUs) {
        durationsUs[(int) (parcels++ % WINDOW)] = score.getTiming().getFinishedUnixUs() - receivedUnixUs;
        for (ItemScore item : score.getItemsList()) {
            if (!item.hasError()) {
                scoredItems++;
                scoredRows += item.getRows();
            } else if (item.getError().getCodeValue() == ErrorCode.EXPIRED.number()) {
                expiredItems++;
            } else {
                failedItems++;
            }
        }
    }

    /** Returns the totals and quantiles by name. */
    public synchronized Map<String, Object> current() {
        long[] window = Arrays.copyOf(durationsUs, (int) Math.min(parcels, WINDOW));
        Arrays.sort(window);
        Map<String, Object> current = new LinkedHashMap<>();
        current.put("scored_rows", scoredRows);
        current.put("scored_items", scoredItems);
        current.put("failed_items", failedItems);
        current.put("expired_items", expiredItems);
        current.put("parcels", parcels);
        current.put("p50_ms", quantileMs(window, 0.5));
        current.put("p99_ms", quantileMs(window, 0.99));
        return current;
    }

    private static double quantileMs(long[] sorted, double share) {
        if (sorted.length == 0) {
            return 0;
        }
        int index = (int) Math.ceil(share * sorted.length) - 1;
        return sorted[Math.max(0, index)] / 1000.0;
    }
}
