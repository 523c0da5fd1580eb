package io.rendezvous;

import io.rendezvous.internal.Names;
import java.time.Duration;
import java.util.Map;

/**
 * What one request says beside its rows: frozen, checked when made.
 *
 * @param timeout deadline, retries included, more than a year counts as one; null: the client's default
 * @param requestId 1 to 64 of A-Z a-z 0-9 _ -; null: one is made
 * @param context for policies: sticky keys and the like
 * @param explain whether every model's score is wanted too
 * @param forceModel model whose score is wanted, whatever the policy says; empty: none
 */
public record ScoreOptions(
        Duration timeout, String requestId, Map<String, String> context, boolean explain, String forceModel) {
    /** Nothing beyond the rows. */
    public static final ScoreOptions NONE = new ScoreOptions(null, null, Map.of(), false, "");

    /**
     * Checks everything.
     *
     * @param timeout as the component
     * @param requestId as the component
     * @param context as the component
     * @param explain as the component
     * @param forceModel as the component
     * @throws InvalidRequestException the timeout is not positive, or the id is malformed
     */
    public ScoreOptions {
        if (timeout != null) {
            ClientOptions.checkPositive("timeout", timeout);
        }
        if (requestId != null) {
            Names.checkName("request id", requestId);
        }
        context = Map.copyOf(context);
    }

    /**
     * These options with a deadline.
     *
     * @param value deadline, retries included
     * @return new options
     */
    public ScoreOptions withTimeout(Duration value) {
        return new ScoreOptions(value, requestId, context, explain, forceModel);
    }

    /**
     * These options with an id.
     *
     * @param value 1 to 64 of A-Z a-z 0-9 _ -
     * @return new options
     */
    public ScoreOptions withRequestId(String value) {
        return new ScoreOptions(timeout, value, context, explain, forceModel);
    }

    /**
     * These options with a context.
     *
     * @param value by name
     * @return new options
     */
    public ScoreOptions withContext(Map<String, String> value) {
        return new ScoreOptions(timeout, requestId, value, explain, forceModel);
    }

    /**
     * These options, asking for every model's score.
     *
     * @return new options
     */
    public ScoreOptions explained() {
        return new ScoreOptions(timeout, requestId, context, true, forceModel);
    }

    /**
     * These options, asking for one model's score.
     *
     * @param value the model's name
     * @return new options
     */
    public ScoreOptions withForceModel(String value) {
        return new ScoreOptions(timeout, requestId, context, explain, value);
    }
}
