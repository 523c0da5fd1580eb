package io.rendezvous.internal;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;

/** The parcels that wait for the model, and which of them are scored together. Not thread-safe. */
final class WaitingParcels {
    private final int maxJoinedRows;
    private final List<Waiting> queue = new ArrayList<>();
    private boolean wasFirstTime;

    WaitingParcels(int maxJoinedRows) {
        this.maxJoinedRows = maxJoinedRows;
    }

    void add(Waiting parcel) {
        queue.add(parcel);
    }

    boolean isEmpty() {
        return queue.isEmpty();
    }

    List<Waiting> all() {
        return queue;
    }

    /** Takes everything out. */
    List<Waiting> drain() {
        List<Waiting> all = List.copyOf(queue);
        queue.clear();
        return all;
    }

    /**
     * Takes what waits, as far as it fits in one table.
     *
     * <p>A parcel that came before may have ended a process. It is scored alone, after what waits for the first time;
     * of several such the first and the last take turns, so that a deadly one does not take others along each time.
     */
    List<Waiting> nextBatch() {
        List<Waiting> again = new ArrayList<>(0);
        for (Waiting parcel : queue) {
            if (parcel.delivery.number() > 1) {
                again.add(parcel);
            }
        }
        if (!again.isEmpty() && (wasFirstTime || again.size() == queue.size())) {
            wasFirstTime = false;
            return List.of(takeAgain(again));
        }
        wasFirstTime = true;
        return takeFirstTime();
    }

    private Waiting takeAgain(List<Waiting> again) {
        again.sort(Comparator.comparingLong(parcel -> parcel.delivery.sequence()));
        Waiting first = again.get(0);
        Waiting chosen = first.delivery.number() % 2 == 1 ? first : again.get(again.size() - 1);
        queue.remove(chosen);
        return chosen;
    }

    private List<Waiting> takeFirstTime() {
        List<Waiting> batch = new ArrayList<>(queue.size());
        long rows = 0;
        for (Iterator<Waiting> iterator = queue.iterator(); iterator.hasNext(); ) {
            Waiting parcel = iterator.next();
            if (parcel.delivery.number() > 1) {
                continue;
            }
            rows += Math.max(
                    0,
                    Math.min(
                            Integer.MAX_VALUE,
                            parcel.delivery.parcel().getInputs().getRows()));
            if (!batch.isEmpty() && rows > maxJoinedRows) {
                break;
            }
            batch.add(parcel);
            iterator.remove();
        }
        return batch;
    }
}
