package io.rendezvous.internal;

import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.rendezvous.RendezvousException;
import io.rendezvous.v1.Timing;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/**
 * Continues the traces of requests (P75, P76): a span for each, where the user configured an OpenTelemetry SDK;
 * else the request's own context is handed back. Thread-safe.
 */
public final class Traces {
    private static final String IDS = "-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}";
    private static final Pattern TRACEPARENT = Pattern.compile("00" + IDS + "|(?!00|ff)[0-9a-f]{2}" + IDS + "(?:-.*)?");
    private static final TextMapGetter<Map<String, String>> GETTER = new TextMapGetter<>() {
        @Override
        public String get(Map<String, String> carrier, String key) {
            return carrier == null ? null : carrier.get(key);
        }
    };

    private final Tracer tracer;

    /**
     * Traces with an SDK.
     *
     * @param telemetry the user's; a no-op one makes no spans
     */
    public Traces(OpenTelemetry telemetry) {
        this.tracer = telemetry.getTracer("io.rendezvous", Origin.VERSION);
    }

    /** Tells whether text is a W3C traceparent. */
    static boolean isValid(String traceparent) {
        return TRACEPARENT.matcher(traceparent).matches();
    }

    /**
     * One request that was scored, as its span tells it.
     *
     * @param identity who scored
     * @param requestId the request
     * @param rows its rows
     * @param timing when it was scored
     * @param error why it was not; null if it was
     */
    public record Scored(
            ParcelScorer.Identity identity, String requestId, long rows, Timing timing, RendezvousException error) {}

    /**
     * Makes the span of a request that was scored.
     *
     * @param traceparent the request's
     * @param tracestate the request's
     * @param scored what the span tells
     * @return the traceparent to answer; empty if the request's is malformed
     */
    public String answer(String traceparent, String tracestate, Scored scored) {
        if (!isValid(traceparent)) {
            return "";
        }
        Map<String, String> carrier = Map.of("traceparent", traceparent, "tracestate", tracestate);
        Context parent = W3CTraceContextPropagator.getInstance().extract(Context.root(), carrier, GETTER);
        Span span = span(parent, scored);
        if (scored.error != null) {
            span.setStatus(StatusCode.ERROR, scored.error.getMessage());
        }
        span.end(scored.timing.getFinishedUnixUs(), TimeUnit.MICROSECONDS);
        SpanContext context = span.getSpanContext();
        if (!context.isValid() || context.equals(Span.fromContext(parent).getSpanContext())) {
            return traceparent;
        }
        return "00-" + context.getTraceId() + "-" + context.getSpanId() + "-"
                + context.getTraceFlags().asHex();
    }

    private Span span(Context parent, Scored scored) {
        return tracer.spanBuilder("score " + scored.identity.name())
                .setParent(parent)
                .setSpanKind(SpanKind.CONSUMER)
                .setStartTimestamp(scored.timing.getStartedUnixUs(), TimeUnit.MICROSECONDS)
                .setAttribute("rendezvous.endpoint", scored.identity.endpoint())
                .setAttribute("rendezvous.model", scored.identity.name())
                .setAttribute("rendezvous.version", scored.identity.version())
                .setAttribute("rendezvous.request_id", scored.requestId)
                .setAttribute("rendezvous.rows", scored.rows)
                .startSpan();
    }
}
