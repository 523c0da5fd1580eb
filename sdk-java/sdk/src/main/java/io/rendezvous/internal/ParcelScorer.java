package io.rendezvous.internal;

import io.opentelemetry.context.Scope;
import io.rendezvous.Frame;
import io.rendezvous.InvalidFrameException;
import io.rendezvous.ModelFailedException;
import io.rendezvous.RendezvousException;
import io.rendezvous.ServeOptions;
import io.rendezvous.TooLargeException;
import io.rendezvous.v1.Error;
import io.rendezvous.v1.ItemScore;
import io.rendezvous.v1.ParcelScore;
import io.rendezvous.v1.Timing;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * From parcels to scores, without any I/O: what the server and the in-memory postbox both run.
 *
 * <p>A parcel is scored as one table, several waiting parcels as one too. Where the model fails, the table is halved
 * by requests until the ones that fail stand alone; the others are answered (P27). Not thread-safe: called on the
 * model's thread only.
 */
public final class ParcelScorer {
    private static final Logger LOG = LoggerFactory.getLogger(ParcelScorer.class);
    private static final int MESSAGE_CHARACTERS = 300;
    private static final int BRIEF_CHARACTERS = 40;
    private static final int MOST_CAUSES = 20; // causes may go round in a circle
    private static final long SPLITTING_LIMIT_NS = 5_000_000_000L;

    private final ServedModel model;
    private final Identity identity;
    private final ScoringGuard guard;
    private final Traces traces;
    private final LongSupplier clock;
    private volatile int maxBytes = Names.MAX_PARCEL_BYTES;
    private volatile int maxRows = ServeOptions.DEFAULT_MAX_ROWS;

    /**
     * Who answers.
     *
     * @param endpoint endpoint that the model belongs to
     * @param name the model's name
     * @param version its version
     * @param replica this process
     */
    public record Identity(String endpoint, String name, String version, String replica, int stage) {
        /** Of a model, which has no stage. */
        public Identity(String endpoint, String name, String version, String replica) {
            this(endpoint, name, version, replica, 0);
        }
    }

    /**
     * Makes a scorer.
     *
     * @param model the model, set up
     * @param identity who answers
     * @param guard bounds the author's code
     * @param traces continues the requests' traces
     * @param clock microseconds since 1970-01-01 UTC
     */
    public ParcelScorer(ServedModel model, Identity identity, ScoringGuard guard, Traces traces, LongSupplier clock) {
        this.model = model;
        this.identity = identity;
        this.guard = guard;
        this.traces = traces;
        this.clock = clock;
    }

    /** Returns who answers. */
    public Identity identity() {
        return identity;
    }

    /** Sets the largest serialized score; a larger one is answered with TOO_LARGE for each request. */
    public void limitBytes(int bytes) {
        maxBytes = bytes;
    }

    /** Sets the most rows of one parcel; each request of a larger one is answered with TOO_LARGE. */
    public void limitRows(int rows) {
        maxRows = rows;
    }

    /**
     * Scores several parcels, as one table where their columns are the same.
     *
     * @param deliveries the parcels
     * @return one score for each, in order; whatever goes wrong is in it, nothing is thrown
     */
    public List<ParcelScore> scoreParcels(List<Delivery> deliveries) {
        long started = clock.getAsLong();
        List<ParcelWork> works = new ArrayList<>(deliveries.size());
        List<ParcelWork> live = new ArrayList<>(deliveries.size());
        for (Delivery delivery : deliveries) {
            ParcelWork work = new ParcelWork(delivery);
            work.admit(maxRows);
            work.begin(traces, identity, started);
            works.add(work);
            if (work.liveCount() > 0) {
                live.add(work);
            }
        }
        scoreTogether(live);
        return replies(works, started);
    }

    /**
     * Answers deliveries whose scoring was given up from outside.
     *
     * @param deliveries the parcels
     * @param error why
     * @param started when scoring began
     * @return one score for each, in order
     */
    public List<ParcelScore> fail(List<Delivery> deliveries, RendezvousException error, long started) {
        List<ParcelWork> works = new ArrayList<>(deliveries.size());
        for (Delivery delivery : deliveries) {
            ParcelWork work = new ParcelWork(delivery);
            work.admit(maxRows);
            work.begin(traces, identity, started);
            work.refuse(error);
            works.add(work);
        }
        return replies(works, started);
    }

    /**
     * Scores the rows of one request.
     *
     * @param inputs the rows
     * @param span the request's
     * @param requestId its id
     * @return as many rows
     * @throws RendezvousException as the error of an item in a parcel
     */
    Frame scoreRequest(Frame inputs, RequestSpan span, String requestId) {
        Outcome outcome = attempt(inputs, 0, 1, List.of(new LiveItem(span, requestId, "")));
        if (outcome.error() != null) {
            throw outcome.error();
        }
        return outcome.outputs();
    }

    private void scoreTogether(List<ParcelWork> works) {
        if (works.isEmpty()) {
            return;
        }
        Frame table;
        try {
            table = Frame.join(works.stream().map(ParcelWork::table).toList());
        } catch (InvalidFrameException error) {
            // A specification changed between them: each for itself.
            for (ParcelWork work : works) {
                List<ParcelWork> alone = List.of(work);
                work.take(scoreItems(work.table(), bounds(alone), items(alone)));
            }
            return;
        }
        int[] bounds = bounds(works);
        List<Outcome> outcomes = scoreItems(table, bounds, items(works));
        int first = 0;
        for (ParcelWork work : works) {
            int stop = first + work.liveCount();
            work.take(Outcome.cut(outcomes, bounds, first, stop));
            first = stop;
        }
    }

    /** First rows of the live items of all works, and the number of rows. */
    private static int[] bounds(List<ParcelWork> works) {
        int[] bounds = new int[works.stream().mapToInt(ParcelWork::liveCount).sum() + 1];
        int at = 0;
        for (ParcelWork work : works) {
            for (int index = 0; index < work.liveCount(); index++) {
                bounds[at + 1] = bounds[at] + work.rowsOf(index);
                at++;
            }
        }
        return bounds;
    }

    private static List<LiveItem> items(List<ParcelWork> works) {
        List<LiveItem> items = new ArrayList<>();
        for (ParcelWork work : works) {
            for (int index = 0; index < work.liveCount(); index++) {
                items.add(work.liveItem(index));
            }
        }
        return items;
    }

    /** Halves what fails; the runs come back in order. */
    private List<Outcome> scoreItems(Frame table, int[] bounds, List<LiveItem> items) {
        LiveItem.link(items);
        List<Outcome> outcomes = new ArrayList<>(1);
        Deque<int[]> waiting = new ArrayDeque<>();
        waiting.push(new int[] {0, bounds.length - 1});
        long failedAt = 0;
        while (!waiting.isEmpty()) {
            int[] run = waiting.pop();
            Outcome outcome =
                    attempt(table.slice(bounds[run[0]], bounds[run[1]]), run[0], run[1], items.subList(run[0], run[1]));
            if (outcome.error() == null || run[1] - run[0] == 1) {
                outcomes.add(outcome);
                continue;
            }
            long now = System.nanoTime();
            failedAt = failedAt == 0 ? now : failedAt;
            if (now - failedAt > SPLITTING_LIMIT_NS) {
                outcomes.add(outcome);
                continue;
            }
            int middle = (run[0] + run[1]) >>> 1;
            waiting.push(new int[] {middle, run[1]});
            waiting.push(new int[] {run[0], middle});
        }
        outcomes.sort(Comparator.comparingInt(Outcome::start));
        return outcomes;
    }

    private Outcome attempt(Frame part, int start, int stop, List<LiveItem> run) {
        Scope scope = LiveItem.makeCurrent(run);
        try {
            return Outcome.scored(start, stop, guard.call(() -> model.score(part)));
        } catch (ScoringGuard.LimitExceeded error) {
            LOG.warn("model {}:{}: {}", identity.name(), identity.version(), error.getMessage());
            return Outcome.failed(start, stop, new ModelFailedException(error.getMessage()));
        } catch (RendezvousException error) {
            if (error.getCause() != null) {
                logFailure(run, error, error.getCause());
            }
            return Outcome.failed(start, stop, error);
        } catch (Throwable error) {
            // The author's code may throw anything, a StackOverflowError for instance; the process lives on.
            ModelFailedException failed = modelFailed(error);
            logFailure(run, failed, error);
            return Outcome.failed(start, stop, failed);
        } finally {
            scope.close();
        }
    }

    private void logFailure(List<LiveItem> run, RendezvousException error, Throwable cause) {
        if (run.size() > 1) {
            return; // it is tried apart, and then the one at fault is named
        }
        LiveItem item = run.get(0);
        try (LogFields fields = new LogFields()) {
            fields.with("request_id", item.requestId())
                    .with("parcel_id", item.parcelId())
                    .with("error_code", error.code().name());
            LOG.warn("model {}:{} failed on one request", identity.name(), identity.version(), cause);
        }
    }

    private List<ParcelScore> replies(List<ParcelWork> works, long started) {
        long finished = clock.getAsLong();
        List<ParcelScore> scores = new ArrayList<>(works.size());
        boolean isLeftBehind = guard.isLeftBehind();
        for (ParcelWork work : works) {
            if (isLeftBehind) {
                work.dropSpans(); // answered already, with spans of its own
            }
            scores.add(reply(work, started, finished));
        }
        return scores;
    }

    private ParcelScore reply(ParcelWork work, long started, long finished) {
        Delivery delivery = work.delivery;
        long received = delivery.receivedUnixUs() == 0 ? started : delivery.receivedUnixUs();
        ParcelScore.Builder score = ParcelScore.newBuilder()
                .setParcelId(delivery.parcel().getParcelId())
                .setEndpoint(identity.endpoint())
                .setModel(identity.name())
                .setVersion(identity.version())
                .setReplica(identity.replica())
                .setTiming(Timing.newBuilder()
                        .setReceivedUnixUs(received)
                        .setStartedUnixUs(started)
                        .setFinishedUnixUs(finished))
                .setParcelSequence(delivery.sequence())
                .setDelivery(delivery.number())
                .setStage(identity.stage());
        work.fill(score);
        ParcelScore full = score.build();
        return fits(full) ? full : fitted(full);
    }

    private boolean fits(ParcelScore score) {
        return score.getSerializedSize() <= maxBytes;
    }

    /** Shortens the errors; where that does not do, refuses the outputs, saying as much about it as there is room. */
    private ParcelScore fitted(ParcelScore full) {
        ParcelScore brief = shortened(full);
        if (fits(brief)) {
            return brief;
        }
        int size = full.getSerializedSize();
        Error error = new TooLargeException(
                        "the model's output has " + size + " bytes for this parcel; the limit is " + maxBytes
                                + ": give fewer or smaller columns, or send fewer rows a request",
                        Map.of("actual", size, "limit", maxBytes))
                .toProto();
        ParcelScore refused = refused(full, error);
        if (!fits(refused)) {
            refused = refused(full, brief(error));
        }
        // A parcel's items with no more than a code are smaller than the parcel was, which had fitted.
        return fits(refused)
                ? refused
                : refused(
                        full, error.toBuilder().clearMessage().clearAttributes().build());
    }

    private static ParcelScore shortened(ParcelScore full) {
        ParcelScore.Builder score = full.toBuilder();
        for (ItemScore.Builder item : score.getItemsBuilderList()) {
            if (item.hasError()) {
                item.setError(brief(item.getError()));
            }
        }
        return score.build();
    }

    private static Error brief(Error error) {
        return error.toBuilder()
                .setMessage(Shown.cut(error.getMessage(), BRIEF_CHARACTERS))
                .clearAttributes()
                .build();
    }

    private static ParcelScore refused(ParcelScore full, Error error) {
        ParcelScore.Builder score = full.toBuilder().clearOutputs();
        for (ItemScore.Builder item : score.getItemsBuilderList()) {
            item.setRows(0).setError(error);
        }
        return score.build();
    }

    /** The author's message, one line; the trace stays in the log. */
    static ModelFailedException modelFailed(Throwable error) {
        String text = messageOf(error);
        text = Shown.cut(text, MESSAGE_CHARACTERS);
        String kind = Shown.value(kindOf(error));
        return new ModelFailedException("the model raised " + kind + ": " + text, Map.of("exception", kind));
    }

    /** The message of an error, or of the nearest cause that has one. */
    private static String messageOf(Throwable error) {
        int depth = 0;
        for (Throwable at = error; at != null && depth < MOST_CAUSES; at = at.getCause()) {
            String message = at.getMessage() == null ? "" : at.getMessage().strip();
            if (!message.isEmpty()) {
                String text = String.join(" ", message.split("\\s+"));
                return at == error ? text : "caused by " + kindOf(at) + ": " + text;
            }
            depth++;
        }
        return "no message";
    }

    private static String kindOf(Throwable error) {
        String simple = error.getClass().getSimpleName();
        return simple.isEmpty() ? error.getClass().getSuperclass().getSimpleName() : simple;
    }
}
