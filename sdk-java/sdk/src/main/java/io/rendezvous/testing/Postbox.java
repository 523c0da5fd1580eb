package io.rendezvous.testing;

import io.opentelemetry.api.OpenTelemetry;
import io.rendezvous.Answer;
import io.rendezvous.Frame;
import io.rendezvous.Model;
import io.rendezvous.ModelFailedException;
import io.rendezvous.RendezvousException;
import io.rendezvous.internal.Delivery;
import io.rendezvous.internal.Ids;
import io.rendezvous.internal.Names;
import io.rendezvous.internal.ParcelScorer;
import io.rendezvous.internal.ScoringGuard;
import io.rendezvous.internal.ServedModel;
import io.rendezvous.internal.Traces;
import io.rendezvous.v1.ItemScore;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelItem;
import io.rendezvous.v1.ParcelScore;
import io.rendezvous.v1.ScoreReply;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A postbox in memory with one model at it and a clock that stands still until {@link #advance}: a model is tested
 * without a server, by the code that serves it.
 *
 * <pre>{@code
 * try (Postbox box = new Postbox(new Risk())) {
 *     Frame rows = Frame.builder().int64("duration_months", 12, 48).build();
 *     assertTrue(box.score(rows).frame().fp64("risk").get(1) > 0.5);
 * }
 * }</pre>
 *
 * <p>The model runs on the caller's thread, without a limit of time. Not thread-safe.
 */
public final class Postbox implements AutoCloseable {
    private static final long START_UNIX_US = 1_700_000_000_000_000L;
    private static final Duration BUDGET = Duration.ofSeconds(1);

    private final Model model;
    private final String endpoint;
    private final ParcelScorer scorer;
    private final Map<String, Integer> deliveries = new HashMap<>();
    private long nowUnixUs = START_UNIX_US;
    private long sequence;

    /**
     * Makes a postbox of endpoint {@code test} with a model {@code model:1}, and sets the model up.
     *
     * @param model the model
     * @throws ModelFailedException its {@code setup} failed
     */
    public Postbox(Model model) {
        this(model, "test", "model", "1");
    }

    /**
     * Makes a postbox and sets the model up.
     *
     * @param model the model
     * @param endpoint name of the endpoint
     * @param name name of the model
     * @param version version of the model
     * @throws io.rendezvous.InvalidRequestException a name is malformed
     * @throws ModelFailedException the model's {@code setup} failed
     */
    public Postbox(Model model, String endpoint, String name, String version) {
        this.model = model;
        this.endpoint = Names.checkName("endpoint", endpoint);
        try {
            model.setup();
        } catch (Exception error) {
            ModelFailedException failed = new ModelFailedException("the model could not be set up: " + error);
            failed.initCause(error);
            throw failed;
        }
        this.scorer = new ParcelScorer(
                new ServedModel(model, model.info()),
                new ParcelScorer.Identity(
                        endpoint, Names.checkName("model", name), Names.checkVersion(version), "in-memory"),
                ScoringGuard.NONE,
                new Traces(OpenTelemetry.noop()),
                () -> nowUnixUs);
    }

    /**
     * Moves the clock.
     *
     * @param time by how much
     */
    public void advance(Duration time) {
        nowUnixUs += time.toNanos() / 1000;
    }

    /**
     * Makes a parcel of one request for each table, due in a second, sealed now.
     *
     * @param tables all with the same columns
     * @return the parcel
     * @throws io.rendezvous.InvalidFrameException their columns differ
     */
    public Parcel parcel(Frame... tables) {
        return parcel(BUDGET, tables);
    }

    /**
     * Makes a parcel of one request for each table, sealed now.
     *
     * @param budget time from now to the requests' deadline
     * @param tables all with the same columns
     * @return the parcel
     * @throws io.rendezvous.InvalidFrameException their columns differ
     */
    public Parcel parcel(Duration budget, Frame... tables) {
        long budgetUs = budget.toNanos() / 1000;
        Parcel.Builder parcel = Parcel.newBuilder()
                .setParcelId(Ids.newId())
                .setEndpoint(endpoint)
                .setRouter("in-memory")
                .setSealedUnixUs(nowUnixUs)
                .setInputs(Frame.join(List.of(tables)).toProto());
        for (Frame table : tables) {
            parcel.addItems(ParcelItem.newBuilder()
                    .setRequestId(Ids.newId())
                    .setRows(table.rows())
                    .setBudgetUs(budgetUs)
                    .setDeadlineUnixUs(nowUnixUs + budgetUs));
        }
        return parcel.build();
    }

    /**
     * Delivers a parcel; one that is delivered again counts as redelivered.
     *
     * @param parcel the parcel
     * @return its score
     */
    public ParcelScore deliver(Parcel parcel) {
        return deliverTogether(parcel).get(0);
    }

    /**
     * Delivers parcels as if they had waited together.
     *
     * @param parcels the parcels
     * @return one score for each, in order
     */
    public List<ParcelScore> deliverTogether(Parcel... parcels) {
        List<Delivery> together = new ArrayList<>(parcels.length);
        for (Parcel parcel : parcels) {
            int number = deliveries.merge(parcel.getParcelId(), 1, Integer::sum);
            together.add(new Delivery(parcel, ++sequence, number, nowUnixUs - parcel.getSealedUnixUs(), nowUnixUs));
        }
        return scorer.scoreParcels(together);
    }

    /**
     * Sends one request in a parcel of its own.
     *
     * @param table its rows
     * @return the answer
     * @throws RendezvousException the leaf class of whatever went wrong
     */
    public Answer score(Frame table) {
        ParcelScore score = deliver(parcel(table));
        ItemScore item = score.getItems(0);
        if (item.hasError()) {
            throw RendezvousException.fromProto(item.getError());
        }
        return new Answer(ScoreReply.newBuilder()
                .setRequestId(item.getRequestId())
                .setModel(score.getModel())
                .setVersion(score.getVersion())
                .setOutputs(score.getOutputs())
                .setTiming(score.getTiming())
                .build());
    }

    /** Closes the model. */
    @Override
    public void close() {
        model.close();
    }
}
