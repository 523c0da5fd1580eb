package io.rendezvous.internal;

import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.ServiceDescriptor;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import io.rendezvous.ExpiredException;
import io.rendezvous.Frame;
import io.rendezvous.InvalidFrameException;
import io.rendezvous.RendezvousException;
import io.rendezvous.ServeOptions;
import io.rendezvous.UnknownEndpointException;
import io.rendezvous.UnknownModelException;
import io.rendezvous.v1.DescribeRequest;
import io.rendezvous.v1.ModelInfo;
import io.rendezvous.v1.ScoreGrpc;
import io.rendezvous.v1.ScoreReply;
import io.rendezvous.v1.ScoreRequest;
import io.rendezvous.v1.Timing;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** The service {@code Score} for one model. Thread-safe; nothing in it waits. */
final class ScoreService {
    static final String SCORE = ScoreGrpc.getScoreMethod().getFullMethodName();
    static final String SCORE_STREAM = ScoreGrpc.getScoreStreamMethod().getFullMethodName();

    private final ParcelScorer scorer;
    private final ModelThread thread;
    private final ServeOptions options;
    private final ModelInfo info;
    private final Traces traces;
    private final ParcelScorer.Identity identity;
    private volatile int port;

    ScoreService(ParcelScorer scorer, ModelThread thread, ServeOptions options, ModelInfo info, Traces traces) {
        this.scorer = scorer;
        this.thread = thread;
        this.options = options;
        this.info = info;
        this.traces = traces;
        this.identity = scorer.identity();
    }

    /** The generated service's methods, with requests read by {@link Inbound.Marshaller}. */
    ServerServiceDefinition definition() {
        Inbound.Marshaller requests = new Inbound.Marshaller(options.maxMessageBytes());
        MethodDescriptor<Inbound, ScoreReply> score = ScoreGrpc.getScoreMethod().toBuilder(
                        requests, ScoreGrpc.getScoreMethod().getResponseMarshaller())
                .build();
        MethodDescriptor<Inbound, ScoreReply> stream = ScoreGrpc.getScoreStreamMethod().toBuilder(
                        requests, ScoreGrpc.getScoreStreamMethod().getResponseMarshaller())
                .build();
        ServiceDescriptor service = ServiceDescriptor.newBuilder(ScoreGrpc.SERVICE_NAME)
                .setSchemaDescriptor(ScoreGrpc.getServiceDescriptor().getSchemaDescriptor())
                .addMethod(ScoreGrpc.getDescribeMethod())
                .addMethod(score)
                .addMethod(stream)
                .build();
        return ServerServiceDefinition.builder(service)
                .addMethod(ScoreGrpc.getDescribeMethod(), ServerCalls.asyncUnaryCall(this::describe))
                .addMethod(score, ServerCalls.asyncUnaryCall(this::score))
                .addMethod(stream, ServerCalls.asyncBidiStreamingCall(this::scoreStream))
                .build();
    }

    private void describe(DescribeRequest request, StreamObserver<ModelInfo> observer) {
        try {
            checkAddressed(request.getEndpoint());
        } catch (RendezvousException error) {
            observer.onError(GrpcErrors.toStatus(error));
            return;
        }
        observer.onNext(info);
        observer.onCompleted();
    }

    private void score(Inbound inbound, StreamObserver<ScoreReply> observer) {
        ServerCallStreamObserver<ScoreReply> call = (ServerCallStreamObserver<ScoreReply>) observer;
        call.setOnCancelHandler(() -> {}); // else an answer that nobody waits for would throw
        begin(inbound, SCORE, Context.current().getDeadline(), new Caller() {
            @Override
            public boolean isCancelled() {
                return call.isCancelled();
            }

            @Override
            public void take(ScoreReply reply) {
                call.onNext(reply);
                call.onCompleted();
            }

            @Override
            public void refuse(RendezvousException error, ScoreReply reply) {
                call.onError(GrpcErrors.toStatus(error));
            }
        });
    }

    private StreamObserver<Inbound> scoreStream(StreamObserver<ScoreReply> observer) {
        return new ScoreStreamCall(this, (ServerCallStreamObserver<ScoreReply>) observer);
    }

    /** Whoever waits for the answer to one request; told once, on any thread. */
    interface Caller {
        /** Tells whether nobody waits any more. */
        boolean isCancelled();

        /** Gets the answer. */
        void take(ScoreReply reply);

        /** Gets what went wrong, and the same as a reply. */
        void refuse(RendezvousException error, ScoreReply reply);
    }

    /**
     * Checks a request and queues it for the model.
     *
     * @param method that was called
     * @param deadline the call's; null: none
     * @param caller gets the answer
     */
    void begin(Inbound inbound, String method, Deadline deadline, Caller caller) {
        Call call = new Call(inbound.request(), method, caller);
        try {
            call.inputs = check(inbound, deadline);
            thread.offer(call);
        } catch (RendezvousException error) {
            call.abandon(error);
        }
    }

    /** Tells where the door listens. */
    void listensAt(int port) {
        this.port = port;
    }

    private Frame check(Inbound inbound, Deadline deadline) {
        if (inbound.fault() != null) {
            throw inbound.fault();
        }
        ScoreRequest request = inbound.request();
        checkAddressed(request.getEndpoint());
        if (!request.getRequestId().isEmpty()) {
            Names.checkName("request id", request.getRequestId());
        }
        String forced = request.getDiagnostics().getForceModel();
        if (!forced.isEmpty() && !forced.equals(options.name())) {
            String shown = Shown.value(forced);
            throw new UnknownModelException(
                    "model '" + shown + "' was asked for; here is only '" + options.name() + "'",
                    Map.of("model", shown));
        }
        Frame inputs = checkInputs(request);
        if (deadline != null && deadline.timeRemaining(TimeUnit.NANOSECONDS) <= 0) {
            throw new ExpiredException("the deadline had passed when the model received the request");
        }
        return inputs;
    }

    private Frame checkInputs(ScoreRequest request) {
        Frame inputs = ParcelWork.frame("request", request.getInputs(), options.maxRows());
        if (inputs.rows() < 1) {
            throw new InvalidFrameException("the request has 0 rows: send at least 1", Map.of("rows", 0));
        }
        return inputs;
    }

    private void checkAddressed(String endpoint) {
        if (!endpoint.isEmpty() && !endpoint.equals(options.endpoint()) && !endpoint.equals(options.name())) {
            String shown = Shown.value(endpoint);
            throw new UnknownEndpointException(
                    "endpoint '" + shown + "' is not served here; here is model '" + options.name() + "' of endpoint '"
                            + options.endpoint() + "'",
                    Map.of("endpoint", shown, "served", options.endpoint()));
        }
    }

    /** One request on its way through the model's thread. */
    private final class Call implements ModelThread.Work {
        private final ScoreRequest request;
        private final String requestId;
        private final Caller caller;
        private final RequestSpan span;
        private final AtomicBoolean answered = new AtomicBoolean();
        private final long received = Clocks.unixUs();
        private volatile long started = received;
        private volatile Frame inputs;

        Call(ScoreRequest request, String method, Caller caller) {
            this.request = request;
            this.requestId = request.getRequestId().isEmpty() ? Ids.newId() : request.getRequestId();
            this.caller = caller;
            Traces.Call at = new Traces.Call(method, options.grpcHost(), port, TraceHeaders.of(request));
            this.span = traces.serve(identity, at, request, requestId, received);
        }

        @Override
        public void run() {
            if (caller.isCancelled()) {
                span.endCancelled(Clocks.unixUs());
                return; // nobody waits for it any more
            }
            started = Clocks.unixUs();
            Frame outputs;
            try {
                outputs = scorer.scoreRequest(inputs, span, requestId);
            } catch (RendezvousException error) {
                abandon(error);
                return;
            }
            if (answered.compareAndSet(false, true)) {
                ScoreReply reply = finish(null).setOutputs(outputs.toProto()).build();
                caller.take(reply);
            }
        }

        @Override
        public void abandon(RendezvousException error) {
            if (answered.compareAndSet(false, true)) {
                caller.refuse(error, finish(error).setError(error.toProto()).build());
            }
        }

        private ScoreReply.Builder finish(RendezvousException error) {
            long finished = Clocks.unixUs();
            span.end(error, finished);
            return ScoreReply.newBuilder()
                    .setRequestId(requestId)
                    .setModel(options.name())
                    .setVersion(options.version())
                    .setTraceparent(span.traceparent())
                    .setTiming(Timing.newBuilder()
                            .setReceivedUnixUs(received)
                            .setStartedUnixUs(started)
                            .setFinishedUnixUs(finished));
        }
    }
}
