package io.rendezvous.internal;

import io.opentelemetry.context.Scope;
import java.util.List;

/**
 * A request that is being scored, as traces and logs name it.
 *
 * @param span its span
 * @param requestId its id
 * @param parcelId its parcel's id; empty: it came over gRPC
 */
record LiveItem(RequestSpan span, String requestId, String parcelId) {
    /** Makes the first span of a run current: what the author draws becomes its child. */
    static Scope makeCurrent(List<LiveItem> run) {
        for (LiveItem item : run) {
            if (item.span.isRecorded()) {
                return item.span.makeCurrent();
            }
        }
        return Scope.noop();
    }

    /** Links the first span of a table with the others, in both directions: it is the parent of what they share. */
    static void link(List<LiveItem> table) {
        RequestSpan first = null;
        for (LiveItem item : table) {
            if (!item.span.isRecorded()) {
                continue;
            }
            if (first == null) {
                first = item.span;
            } else {
                first.link(item.span);
            }
        }
    }
}
