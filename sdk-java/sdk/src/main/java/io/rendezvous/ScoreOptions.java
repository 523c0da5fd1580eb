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
 * @param forceTrace whether its trace is to be recorded, whatever the sampling says
 * @param traceparent W3C trace context to send as it is, instead of a span of the client's; empty: the current one
 * @param tracestate W3C trace state that belongs to it; empty: none
 */
public record ScoreOptions(
        Duration timeout,
        String requestId,
        Map<String, String> context,
        boolean explain,
        String forceModel,
        boolean forceTrace,
        String traceparent,
        String tracestate) {
    /** Nothing beyond the rows. */
    public static final ScoreOptions NONE = new ScoreOptions(null, null, Map.of(), false, "", false, "", "");

    /**
     * Checks everything.
     *
     * @param timeout as the component
     * @param requestId as the component
     * @param context as the component
     * @param explain as the component
     * @param forceModel as the component
     * @param forceTrace as the component
     * @param traceparent as the component
     * @param tracestate as the component
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
        return new ScoreOptions(value, requestId, context, explain, forceModel, forceTrace, traceparent, tracestate);
    }

    /**
     * These options with an id.
     *
     * @param value 1 to 64 of A-Z a-z 0-9 _ -
     * @return new options
     */
    public ScoreOptions withRequestId(String value) {
        return new ScoreOptions(timeout, value, context, explain, forceModel, forceTrace, traceparent, tracestate);
    }

    /**
     * These options with a context.
     *
     * @param value by name
     * @return new options
     */
    public ScoreOptions withContext(Map<String, String> value) {
        return new ScoreOptions(timeout, requestId, value, explain, forceModel, forceTrace, traceparent, tracestate);
    }

    /**
     * These options, asking for every model's score.
     *
     * @return new options
     */
    public ScoreOptions explained() {
        return new ScoreOptions(timeout, requestId, context, true, forceModel, forceTrace, traceparent, tracestate);
    }

    /**
     * These options, asking for one model's score.
     *
     * @param value the model's name
     * @return new options
     */
    public ScoreOptions withForceModel(String value) {
        return new ScoreOptions(timeout, requestId, context, explain, value, forceTrace, traceparent, tracestate);
    }

    /**
     * These options, asking for the request's trace.
     *
     * @return new options
     */
    public ScoreOptions withForcedTrace() {
        return new ScoreOptions(timeout, requestId, context, explain, forceModel, true, traceparent, tracestate);
    }

    /**
     * These options with a trace context, which is sent as it is.
     *
     * @param parent W3C {@code traceparent}; empty: the current one
     * @param state W3C {@code tracestate}; empty: none
     * @return new options
     */
    public ScoreOptions withTraceContext(String parent, String state) {
        return new ScoreOptions(timeout, requestId, context, explain, forceModel, forceTrace, parent, state);
    }
}
