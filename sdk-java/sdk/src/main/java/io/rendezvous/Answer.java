package io.rendezvous;

import io.rendezvous.v1.Decision;
import io.rendezvous.v1.ModelScore;
import io.rendezvous.v1.ScoreReply;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Answer to one request: one row for each row sent, in that order.
 *
 * <p>In a stream an answer may be an error: then {@link #error} is there, and {@link #frame} throws it.
 *
 * <p>Immutable and thread-safe.
 */
public final class Answer {
    private final ScoreReply reply;
    private volatile Frame frame;

    /**
     * Views a reply.
     *
     * @param reply as it came
     */
    public Answer(ScoreReply reply) {
        this.reply = reply;
    }

    /**
     * Id of the request.
     *
     * @return as sent, or made by the server
     */
    public String requestId() {
        return reply.getRequestId();
    }

    /**
     * Model that gave the answer.
     *
     * @return its name; empty where the policy's {@code otherwise} answered
     */
    public String model() {
        return reply.getModel();
    }

    /**
     * Version of that model.
     *
     * @return the version
     */
    public String version() {
        return reply.getVersion();
    }

    /**
     * How the answer was chosen.
     *
     * @return empty from a model asked directly
     */
    public Optional<Decision> decision() {
        return reply.hasDecision() ? Optional.of(reply.getDecision()) : Optional.empty();
    }

    /**
     * With {@code explain}: every model's score that had arrived.
     *
     * @return by the model's name
     */
    public Map<String, ModelScore> scores() {
        Map<String, ModelScore> scores = new LinkedHashMap<>();
        reply.getScoresList().forEach(score -> scores.put(score.getModel(), score));
        return scores;
    }

    /**
     * Why there is no answer, in a stream.
     *
     * @return empty where there is one
     */
    public Optional<RendezvousException> error() {
        return reply.hasError() ? Optional.of(RendezvousException.fromProto(reply.getError())) : Optional.empty();
    }

    /**
     * The rows.
     *
     * @return one row for each row sent
     * @throws RendezvousException there is no answer; see {@link #error}
     */
    public Frame frame() {
        if (reply.hasError()) {
            throw RendezvousException.fromProto(reply.getError());
        }
        if (frame == null) {
            frame = Frame.of(reply.getOutputs());
        }
        return frame;
    }

    /**
     * The message this is a view of.
     *
     * @return as it came
     */
    public ScoreReply toProto() {
        return reply;
    }

    /**
     * The answer, for people.
     *
     * @return id, model, and rows or error
     */
    @Override
    public String toString() {
        String what = reply.hasError() ? "error " + reply.getError().getMessage() : frame().rows() + " rows";
        String who = model().isEmpty() ? "otherwise" : model();
        return "Answer " + requestId() + " by " + who + ": " + what;
    }
}
