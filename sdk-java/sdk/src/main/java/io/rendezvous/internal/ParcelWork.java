package io.rendezvous.internal;

import io.rendezvous.ExpiredException;
import io.rendezvous.Frame;
import io.rendezvous.InvalidFrameException;
import io.rendezvous.InvalidOutputException;
import io.rendezvous.ModelFailedException;
import io.rendezvous.RendezvousException;
import io.rendezvous.TooLargeException;
import io.rendezvous.v1.ItemScore;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelItem;
import io.rendezvous.v1.ParcelScore;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** One parcel on its way to a score: which items are scored, and what came of them. */
final class ParcelWork {
    final Delivery delivery;
    private final List<ParcelItem> items;
    private final RendezvousException[] errors;
    private final RequestSpan[] spans;
    private Frame inputs;
    private int[] live = {};
    private List<Outcome> outcomes = List.of();

    ParcelWork(Delivery delivery) {
        this.delivery = delivery;
        this.items = delivery.parcel().getItemsList();
        this.errors = new RendezvousException[items.size()];
        this.spans = new RequestSpan[items.size()];
    }

    /** Begins the spans of all items, the refused ones' too. */
    void begin(Traces traces, ParcelScorer.Identity identity, long started) {
        for (int index = 0; index < spans.length; index++) {
            spans[index] = traces.consume(identity, delivery, items.get(index), started);
        }
    }

    /** Decides which items are scored: none of a parcel given up, malformed or too large, else all but expired ones. */
    void admit(int maxRows) {
        try {
            checkDeliveries();
            checkRows();
            inputs = frame("parcel", delivery.parcel().getInputs(), maxRows);
        } catch (RendezvousException refusal) {
            Arrays.fill(errors, refusal);
            return;
        }
        live = new int[items.size()];
        int count = 0;
        for (int index = 0; index < errors.length; index++) {
            long budgetUs = items.get(index).getBudgetUs();
            if (isExpired(budgetUs, delivery.ageUs())) {
                errors[index] = expired(budgetUs, delivery.ageUs());
            } else {
                live[count++] = index;
            }
        }
        live = Arrays.copyOf(live, count);
    }

    /** Tells whether an item's deadline had passed at delivery, by the broker's clock alone (P71). */
    static boolean isExpired(long budgetUs, long ageUs) {
        return ageUs >= budgetUs;
    }

    int liveCount() {
        return live.length;
    }

    int rowsOf(int liveIndex) {
        return (int) items.get(live[liveIndex]).getRows();
    }

    LiveItem liveItem(int liveIndex) {
        int index = live[liveIndex];
        return new LiveItem(
                spans[index], items.get(index).getRequestId(), delivery.parcel().getParcelId());
    }

    /** Leaves the spans to whoever answers in this thread's place. */
    void dropSpans() {
        for (int index = 0; index < spans.length; index++) {
            spans[index] = RequestSpan.none(spans[index].traceparent());
        }
    }

    /** The rows of the live items. */
    Frame table() {
        if (live.length == errors.length) {
            return inputs;
        }
        int[] bounds = new int[errors.length + 1];
        for (int index = 0; index < errors.length; index++) {
            bounds[index + 1] = bounds[index] + (int) items.get(index).getRows();
        }
        List<Frame> parts = new ArrayList<>(live.length);
        for (int index : live) {
            parts.add(inputs.slice(bounds[index], bounds[index + 1]));
        }
        return Frame.join(parts);
    }

    void take(List<Outcome> scored) {
        outcomes = scored;
    }

    void refuse(RendezvousException error) {
        outcomes = List.of(Outcome.failed(0, live.length, error));
    }

    /** Writes items and outputs, and ends the spans. */
    void fill(ParcelScore.Builder score) {
        List<Frame> frames = new ArrayList<>(outcomes.size());
        for (Outcome outcome : outcomes) {
            if (outcome.outputs() != null) {
                frames.add(outcome.outputs());
                continue;
            }
            for (int index = outcome.start(); index < outcome.stop(); index++) {
                errors[live[index]] = outcome.error();
            }
        }
        if (!frames.isEmpty()) {
            fillOutputs(score, frames);
        }
        for (int index = 0; index < errors.length; index++) {
            spans[index].end(errors[index], score.getTiming().getFinishedUnixUs());
            score.addItems(itemScore(index));
        }
    }

    private ItemScore.Builder itemScore(int index) {
        ParcelItem item = items.get(index);
        ItemScore.Builder answer =
                ItemScore.newBuilder().setRequestId(item.getRequestId()).setTraceparent(spans[index].traceparent());
        if (errors[index] == null) {
            answer.setRows(item.getRows());
        } else {
            answer.setError(errors[index].toProto());
        }
        return answer;
    }

    private void fillOutputs(ParcelScore.Builder score, List<Frame> frames) {
        try {
            score.setOutputs(Frame.join(frames).toProto());
        } catch (InvalidFrameException error) {
            RendezvousException refusal = new InvalidOutputException(
                    "the model gave different columns for parts of one parcel: " + error.getMessage()
                            + "; declare its output types",
                    error.attributes());
            for (int index : live) {
                errors[index] = errors[index] == null ? refusal : errors[index];
            }
        }
    }

    private void checkDeliveries() {
        if (delivery.number() >= Names.MAX_DELIVER) {
            throw new ModelFailedException(
                    "delivered " + delivery.number() + " times without an answer, so it is not tried again: "
                            + "the model's process ended or hung on it",
                    Map.of("deliveries", delivery.number(), "limit", Names.MAX_DELIVER));
        }
    }

    /** Checks a frame before anything of its size is made: columns without elements claim any number of rows (P40). */
    static Frame frame(String what, io.rendezvous.v1.Frame proto, int maxRows) {
        Frame frame;
        try {
            frame = Frame.of(proto);
        } catch (TooLargeException beyondCounting) {
            checkLimit(what, proto.getRows(), maxRows);
            throw beyondCounting;
        }
        checkLimit(what, proto.getRows(), maxRows);
        return frame;
    }

    private static void checkLimit(String what, long rows, int maxRows) {
        if (rows > maxRows) {
            throw new TooLargeException(
                    "the " + what + " has " + rows + " rows; the limit is " + maxRows + ": send fewer rows a request",
                    Map.of("actual", rows, "limit", maxRows));
        }
    }

    private void checkRows() {
        Parcel parcel = delivery.parcel();
        long rows = 0;
        long least = Long.MAX_VALUE;
        try {
            for (ParcelItem item : items) {
                least = Math.min(least, item.getRows());
                rows = Math.addExact(rows, item.getRows());
            }
        } catch (ArithmeticException overflow) {
            throw new InvalidFrameException(
                    "the parcel's items have more rows in all than can be counted, its frame has "
                            + parcel.getInputs().getRows() + ": they must be the same",
                    Map.of("actual", parcel.getInputs().getRows()));
        }
        if (rows != parcel.getInputs().getRows() || least < 1) {
            throw new InvalidFrameException(
                    "the parcel's items have " + rows + " rows in all, its frame has "
                            + parcel.getInputs().getRows()
                            + ": they must be the same, and each item must have one at least",
                    Map.of("expected", rows, "actual", parcel.getInputs().getRows()));
        }
    }

    private static ExpiredException expired(long budgetUs, long ageUs) {
        return new ExpiredException(
                "the request's " + Math.round(budgetUs / 1e3) + " ms had passed when the model received it, "
                        + Math.round(ageUs / 1e3) + " ms after it was accepted",
                Map.of("budget_us", budgetUs, "age_us", ageUs));
    }
}
