package io.rendezvous.internal;

import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.rendezvous.v1.ScoreRequest;

/**
 * W3C trace context of a request: its own fields, else the call's metadata (P75).
 *
 * @param traceparent empty: not traced
 * @param tracestate empty: none
 */
record TraceHeaders(String traceparent, String tracestate) {
    private static final TraceHeaders NONE = new TraceHeaders("", "");
    private static final Context.Key<TraceHeaders> CALL = Context.keyWithDefault("rendezvous-trace", NONE);
    private static final Metadata.Key<String> TRACEPARENT =
            Metadata.Key.of("traceparent", Metadata.ASCII_STRING_MARSHALLER);
    private static final Metadata.Key<String> TRACESTATE =
            Metadata.Key.of("tracestate", Metadata.ASCII_STRING_MARSHALLER);

    static TraceHeaders of(ScoreRequest request) {
        if (request.getTraceparent().isEmpty()) {
            return CALL.get();
        }
        return new TraceHeaders(request.getTraceparent(), request.getTracestate());
    }

    /** Keeps the metadata of each call for {@link #of}. */
    static final class Interceptor implements ServerInterceptor {
        @Override
        public <Q, R> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, R> call, Metadata metadata, ServerCallHandler<Q, R> next) {
            String traceparent = metadata.get(TRACEPARENT);
            if (traceparent == null) {
                return next.startCall(call, metadata);
            }
            String tracestate = metadata.get(TRACESTATE);
            TraceHeaders headers = new TraceHeaders(traceparent, tracestate == null ? "" : tracestate);
            return Contexts.interceptCall(Context.current().withValue(CALL, headers), call, metadata, next);
        }
    }
}
