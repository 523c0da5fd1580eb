package io.rendezvous.internal;

import io.rendezvous.Frame;
import io.rendezvous.RendezvousException;
import java.util.ArrayList;
import java.util.List;

/**
 * Scores of a run of items: rows of items start to stop (not included) in one frame, or the error of all of them.
 *
 * @param start first item
 * @param stop item after the last
 * @param outputs null where there is an error
 * @param error null where there are outputs
 */
record Outcome(int start, int stop, Frame outputs, RendezvousException error) {
    static Outcome scored(int start, int stop, Frame outputs) {
        return new Outcome(start, stop, outputs, null);
    }

    static Outcome failed(int start, int stop, RendezvousException error) {
        return new Outcome(start, stop, null, error);
    }

    /** Returns the outcomes of items first to stop (not included), counted from first. */
    static List<Outcome> cut(List<Outcome> outcomes, int[] bounds, int first, int stop) {
        List<Outcome> cut = new ArrayList<>(1);
        for (Outcome outcome : outcomes) {
            int from = Math.max(outcome.start, first);
            int to = Math.min(outcome.stop, stop);
            if (from < to) {
                cut.add(outcome.part(bounds, from, to, first));
            }
        }
        return cut;
    }

    private Outcome part(int[] bounds, int from, int to, int origin) {
        Frame rows = outputs;
        if (rows != null) {
            rows = rows.slice(bounds[from] - bounds[start], bounds[to] - bounds[start]);
        }
        return new Outcome(from - origin, to - origin, rows, error);
    }
}
