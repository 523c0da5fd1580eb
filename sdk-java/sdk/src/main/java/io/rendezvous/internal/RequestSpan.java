package io.rendezvous.internal;

import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.Scope;
import io.rendezvous.RendezvousException;
import java.util.concurrent.TimeUnit;

/** The span of one request while it is scored; one that was not sampled is not there. */
final class RequestSpan {
    private static final String STATUS_CODE = "rpc.response.status_code";
    private static final String ERROR_TYPE = "error.type";

    private final Context context;
    private final Span span;
    private final String answered;
    private final boolean isCall;

    private RequestSpan(Context parent, Span span, String answered, boolean isCall) {
        this.context = span == null ? null : parent.with(span);
        this.span = span;
        this.answered = answered;
        this.isCall = isCall;
    }

    /** Makes none: the request's own context is handed back. */
    static RequestSpan none(String traceparent) {
        return new RequestSpan(null, null, traceparent, false);
    }

    /**
     * Takes a span that was started.
     *
     * @param parent context that it was started in
     * @param span the span
     * @param traceparent the request's; empty: it has none, and gets none back
     * @param isCall whether it is a call, whose status is told
     */
    static RequestSpan of(Context parent, Span span, String traceparent, boolean isCall) {
        if (!span.getSpanContext().isSampled() || !span.isRecording()) {
            return none(traceparent);
        }
        return new RequestSpan(
                parent, span, traceparent.isEmpty() ? "" : Traces.traceparent(span.getSpanContext()), isCall);
    }

    boolean isRecorded() {
        return span != null;
    }

    /** The traceparent to answer: the span's, else the request's own. */
    String traceparent() {
        return answered;
    }

    /** Trace id; null where there is no span. */
    String traceId() {
        return span == null ? null : span.getSpanContext().getTraceId();
    }

    /** Makes it the parent of what the author's code draws on this thread. */
    Scope makeCurrent() {
        return context == null ? Scope.noop() : context.makeCurrent();
    }

    /** Says of both that they were scored together. */
    void link(RequestSpan other) {
        addLink(other.span.getSpanContext());
        other.addLink(span.getSpanContext());
    }

    private void addLink(SpanContext other) {
        span.addLink(other);
    }

    /**
     * Ends it.
     *
     * @param error why there is no score; null where there is one
     * @param finishedUnixUs when
     */
    void end(RendezvousException error, long finishedUnixUs) {
        if (span == null) {
            return;
        }
        if (isCall) {
            span.setAttribute(STATUS_CODE, error == null ? "OK" : error.code().grpcStatus());
        }
        if (error != null) {
            span.setStatus(StatusCode.ERROR, error.getMessage());
            span.setAttribute(ERROR_TYPE, error.code().name());
        }
        span.end(finishedUnixUs, TimeUnit.MICROSECONDS);
    }

    /** Ends it without an answer: nobody waits for one any more. */
    void endCancelled(long finishedUnixUs) {
        if (span != null) {
            span.setAttribute(STATUS_CODE, "CANCELLED");
            span.end(finishedUnixUs, TimeUnit.MICROSECONDS);
        }
    }
}
