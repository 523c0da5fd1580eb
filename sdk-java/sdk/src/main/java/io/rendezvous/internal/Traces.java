package io.rendezvous.internal;

import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanBuilder;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.TracerProvider;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.ContextKey;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.rendezvous.v1.Diagnostics;
import io.rendezvous.v1.ParcelItem;
import io.rendezvous.v1.ScoreRequest;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/**
 * Continues the traces of requests (P75, P76): a span for each that is sampled, where OpenTelemetry is set up; else the
 * request's own context is handed back. Thread-safe.
 */
public final class Traces {
    /** In the context that a span is started in: the request asked for a trace, whatever the sampler here says. */
    public static final ContextKey<Boolean> FORCED = ContextKey.named("rendezvous-force-trace");

    private static final String SCOPE = "io.rendezvous";
    private static final String IDS = "-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}";
    private static final Pattern TRACEPARENT = Pattern.compile("00" + IDS + "|(?!00|ff)[0-9a-f]{2}" + IDS + "(?:-.*)?");
    private static final int FLAGS_AT = 53;
    private static final int SAMPLED = 1;
    private static final TextMapGetter<Map<String, String>> GETTER = new TextMapGetter<>() {
        @Override
        public String get(Map<String, String> carrier, String key) {
            return carrier == null ? null : carrier.get(key);
        }
    };

    private final Tracer tracer;
    private final boolean isOff;

    /**
     * Traces with an SDK.
     *
     * @param telemetry the SDK; a no-op one makes no spans
     */
    public Traces(OpenTelemetry telemetry) {
        this.isOff = isOff(telemetry);
        this.tracer = tracerOf(telemetry);
    }

    /** Tells whether nobody set up tracing. */
    static boolean isOff(OpenTelemetry telemetry) {
        return telemetry.getTracerProvider() == TracerProvider.noop();
    }

    /** Returns the tracer of this SDK. */
    public static Tracer tracerOf(OpenTelemetry telemetry) {
        return telemetry.getTracer(SCOPE, Origin.VERSION);
    }

    /** Tells whether text is a W3C traceparent. */
    static boolean isValid(String traceparent) {
        return TRACEPARENT.matcher(traceparent).matches();
    }

    /** Tells whether text is a W3C traceparent of a trace that is recorded. */
    static boolean isSampled(String traceparent) {
        return isValid(traceparent)
                && (Integer.parseInt(traceparent.substring(FLAGS_AT, FLAGS_AT + 2), 16) & SAMPLED) != 0;
    }

    /** Writes a context as a W3C traceparent. */
    public static String traceparent(SpanContext context) {
        return "00-" + context.getTraceId() + "-" + context.getSpanId() + "-"
                + context.getTraceFlags().asHex();
    }

    /**
     * Starts the span of a parcel's item, if its context is sampled. A request that asks for its trace has that flag
     * from the router; a span without it would belong to a trace that nobody else records.
     *
     * @param identity who scores
     * @param delivery the parcel's
     * @param item the item; malformed context is none
     * @param startedUnixUs when scoring began
     * @return its span, to be ended
     */
    RequestSpan consume(ParcelScorer.Identity identity, Delivery delivery, ParcelItem item, long startedUnixUs) {
        String traceparent = item.getTraceparent();
        if (!isValid(traceparent)) {
            return RequestSpan.none("");
        }
        if (isOff || !isSampled(traceparent)) {
            return RequestSpan.none(traceparent);
        }
        Context parent = parent(traceparent, item.getTracestate(), item.getDiagnostics());
        SpanBuilder span = builder("score " + identity.name(), SpanKind.CONSUMER, parent, startedUnixUs)
                .setAttribute("messaging.system", "nats")
                .setAttribute("messaging.operation.name", "score")
                .setAttribute("messaging.operation.type", "process")
                .setAttribute(
                        "messaging.destination.template",
                        identity.stage() == 0 ? Names.INPUT_TEMPLATE : Names.RAW_TEMPLATE)
                .setAttribute(
                        "messaging.destination.name",
                        identity.stage() == 0
                                ? Names.inputSubject(identity.endpoint())
                                : Names.rawSubject(identity.endpoint(), identity.stage()))
                .setAttribute("messaging.consumer.group.name", Names.consumerName(identity.name(), identity.version()))
                .setAttribute("rendezvous.parcel_id", delivery.parcel().getParcelId())
                .setAttribute("rendezvous.delivery", (long) delivery.number());
        return RequestSpan.of(parent, start(span, identity, item.getRequestId(), item.getRows()), traceparent, false);
    }

    /**
     * Starts the span of a call at the model's own door; one without a context begins a trace, one whose context is not
     * sampled has no span.
     *
     * @param identity who scores
     * @param call which method, where, and with which context
     * @param request the request
     * @param requestId its id, or the one made for it
     * @param receivedUnixUs when it came
     * @return its span, to be ended
     */
    RequestSpan serve(
            ParcelScorer.Identity identity, Call call, ScoreRequest request, String requestId, long receivedUnixUs) {
        String traceparent =
                isValid(call.headers().traceparent()) ? call.headers().traceparent() : "";
        if (isOff || !traceparent.isEmpty() && !isSampled(traceparent)) {
            return RequestSpan.none(traceparent);
        }
        Context parent = parent(traceparent, call.headers().tracestate(), request.getDiagnostics());
        SpanBuilder span = builder(call.method(), SpanKind.SERVER, parent, receivedUnixUs)
                .setAttribute("rpc.system.name", "grpc")
                .setAttribute("rpc.method", call.method())
                .setAttribute("server.address", call.host())
                .setAttribute("server.port", (long) call.port());
        long rows = request.getInputs().getRows();
        return RequestSpan.of(parent, start(span, identity, requestId, rows), traceparent, true);
    }

    /**
     * A call at the model's own door.
     *
     * @param method full name, as {@code rendezvous.v1.Score/Score}
     * @param host where the door listens
     * @param port where the door listens
     * @param headers the caller's context
     */
    record Call(String method, String host, int port, TraceHeaders headers) {}

    private static Context parent(String traceparent, String tracestate, Diagnostics diagnostics) {
        Context parent = Context.root();
        if (!traceparent.isEmpty()) {
            Map<String, String> carrier = Map.of("traceparent", traceparent, "tracestate", tracestate);
            parent = W3CTraceContextPropagator.getInstance().extract(parent, carrier, GETTER);
        }
        return diagnostics.getForceTrace() ? parent.with(FORCED, true) : parent;
    }

    private SpanBuilder builder(String name, SpanKind kind, Context parent, long startedUnixUs) {
        return tracer.spanBuilder(name)
                .setParent(parent)
                .setSpanKind(kind)
                .setStartTimestamp(startedUnixUs, TimeUnit.MICROSECONDS);
    }

    private static Span start(SpanBuilder span, ParcelScorer.Identity identity, String requestId, long rows) {
        return span.setAttribute("rendezvous.endpoint", identity.endpoint())
                .setAttribute("rendezvous.model", identity.name())
                .setAttribute("rendezvous.version", identity.version())
                .setAttribute("rendezvous.request_id", requestId)
                .setAttribute("rendezvous.rows", rows)
                .startSpan();
    }
}
