package io.rendezvous;

import io.grpc.Metadata;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.rendezvous.internal.Traces;
import io.rendezvous.v1.ScoreRequest;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicBoolean;

/** The span of one request that a client sends, retries included, and the context that goes with it. */
final class ClientSpan {
    private static final String TRACEPARENT = "traceparent";
    private static final String TRACESTATE = "tracestate";

    private final Span span;
    private final String traceparent;
    private final String tracestate;
    private final AtomicBoolean ended = new AtomicBoolean();

    private ClientSpan(Span span, String traceparent, String tracestate) {
        this.span = span;
        this.traceparent = traceparent;
        this.tracestate = tracestate;
    }

    /**
     * Starts a span; none where the request names its context itself.
     *
     * @param telemetry set up, or a no-op: then the current context, if there is one, is sent as it is
     * @param parent context of the caller's code
     * @param method full name, as {@code rendezvous.v1.Score/Score}
     * @param server where it is called
     * @param request what is sent
     * @param options what the request says beside its rows
     */
    static ClientSpan start(
            OpenTelemetry telemetry,
            Context parent,
            String method,
            ServerAddress server,
            ScoreRequest request,
            ScoreOptions options) {
        if (!options.traceparent().isEmpty()) {
            return new ClientSpan(Span.getInvalid(), options.traceparent(), options.tracestate());
        }
        Context forced = options.forceTrace() ? parent.with(Traces.FORCED, true) : parent;
        Span span = Traces.tracerOf(telemetry)
                .spanBuilder(method)
                .setParent(forced)
                .setSpanKind(SpanKind.CLIENT)
                .setAttribute("rpc.system.name", "grpc")
                .setAttribute("rpc.method", method)
                .setAttribute("server.address", server.host())
                .setAttribute("server.port", (long) server.port())
                .setAttribute("rendezvous.endpoint", request.getEndpoint())
                .setAttribute("rendezvous.request_id", request.getRequestId())
                .setAttribute("rendezvous.rows", request.getInputs().getRows())
                .startSpan();
        SpanContext context = span.getSpanContext();
        if (!context.isValid()) {
            return new ClientSpan(span, "", "");
        }
        Map<String, String> headers = new HashMap<>();
        W3CTraceContextPropagator.getInstance().inject(forced.with(span), headers, Map::put);
        return new ClientSpan(span, headers.get(TRACEPARENT), headers.getOrDefault(TRACESTATE, ""));
    }

    /** The context as the metadata of a call (P75); empty where there is none. */
    Metadata headers() {
        Metadata headers = new Metadata();
        put(headers, TRACEPARENT, traceparent);
        put(headers, TRACESTATE, tracestate);
        return headers;
    }

    /** The request with the context in its own fields, as streams have it. */
    ScoreRequest written(ScoreRequest request) {
        if (traceparent.isEmpty()) {
            return request;
        }
        return request.toBuilder()
                .setTraceparent(traceparent)
                .setTracestate(tracestate)
                .build();
    }

    /** Ends it, once; the error is null where there is an answer. */
    void end(Throwable error) {
        if (!ended.compareAndSet(false, true)) {
            return;
        }
        if (error instanceof CancellationException) {
            span.setAttribute("rpc.response.status_code", "CANCELLED");
        } else if (error == null) {
            span.setAttribute("rpc.response.status_code", "OK");
        } else {
            boolean isTyped = error instanceof RendezvousException;
            ErrorCode code = isTyped ? ((RendezvousException) error).code() : ErrorCode.INTERNAL;
            span.setAttribute("rpc.response.status_code", code.grpcStatus());
            span.setAttribute(
                    "error.type", isTyped ? code.name() : error.getClass().getName());
            span.setStatus(StatusCode.ERROR, error.getMessage() == null ? "" : error.getMessage());
        }
        span.end();
    }

    private static void put(Metadata headers, String name, String value) {
        if (!value.isEmpty()) {
            headers.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value);
        }
    }
}
