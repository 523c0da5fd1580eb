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
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/** The service {@code Score} for one model. Thread-safe; nothing in it waits. */
final class ScoreService {
    private final ParcelScorer scorer;
    private final ModelThread thread;
    private final ServeOptions options;
    private final ModelInfo info;
    private final Traces traces;
    private final ParcelScorer.Identity identity;

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
        Consumer<RendezvousException> onError = error -> call.onError(GrpcErrors.toStatus(error));
        Consumer<ScoreReply> onReply = reply -> {
            call.onNext(reply);
            call.onCompleted();
        };
        begin(inbound, Context.current().getDeadline(), call::isCancelled, onReply, onError);
    }

    private StreamObserver<Inbound> scoreStream(StreamObserver<ScoreReply> observer) {
        return new ScoreStreamCall(this, (ServerCallStreamObserver<ScoreReply>) observer);
    }

    /**
     * Checks a request and queues it for the model.
     *
     * @param deadline the call's; null: none
     * @param isCancelled whether nobody waits any more
     * @param onReply gets the answer, on the model's thread
     * @param onError gets what went wrong, on any thread
     */
    void begin(
            Inbound inbound,
            Deadline deadline,
            BooleanSupplier isCancelled,
            Consumer<ScoreReply> onReply,
            Consumer<RendezvousException> onError) {
        try {
            Frame inputs = check(inbound, deadline);
            thread.offer(new Call(inbound.request(), inputs, isCancelled, onReply, onError));
        } catch (RendezvousException error) {
            onError.accept(error);
        }
    }

    /** A streamed request's error as its reply. */
    ScoreReply errorReply(ScoreRequest request, RendezvousException error) {
        return reply(request, TraceHeaders.of(request), error, Clocks.unixUs(), Clocks.unixUs())
                .setError(error.toProto())
                .build();
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

    private ScoreReply.Builder reply(
            ScoreRequest request, TraceHeaders headers, RendezvousException error, long received, long started) {
        Timing timing = Timing.newBuilder()
                .setReceivedUnixUs(received)
                .setStartedUnixUs(started)
                .setFinishedUnixUs(Clocks.unixUs())
                .build();
        ScoreReply.Builder reply = ScoreReply.newBuilder()
                .setRequestId(request.getRequestId().isEmpty() ? Ids.newId() : request.getRequestId())
                .setModel(options.name())
                .setVersion(options.version())
                .setTiming(timing);
        if (!headers.traceparent().isEmpty()) {
            Traces.Scored scored = new Traces.Scored(
                    identity, reply.getRequestId(), request.getInputs().getRows(), timing, error);
            reply.setTraceparent(traces.answer(headers.traceparent(), headers.tracestate(), scored));
        }
        return reply;
    }

    /** One request on its way through the model's thread. */
    private final class Call implements ModelThread.Work {
        private final ScoreRequest request;
        private final Frame inputs;
        private final BooleanSupplier isCancelled;
        private final Consumer<ScoreReply> onReply;
        private final Consumer<RendezvousException> onError;
        private final TraceHeaders headers;
        private final AtomicBoolean answered = new AtomicBoolean();
        private final long received = Clocks.unixUs();

        Call(
                ScoreRequest request,
                Frame inputs,
                BooleanSupplier isCancelled,
                Consumer<ScoreReply> onReply,
                Consumer<RendezvousException> onError) {
            this.request = request;
            this.inputs = inputs;
            this.isCancelled = isCancelled;
            this.onReply = onReply;
            this.onError = onError;
            this.headers = TraceHeaders.of(request);
        }

        @Override
        public void run() {
            if (isCancelled.getAsBoolean()) {
                return; // nobody waits for it any more
            }
            long started = Clocks.unixUs();
            Frame outputs;
            try {
                outputs = scorer.scoreRequest(inputs);
            } catch (RendezvousException error) {
                abandon(error);
                return;
            }
            if (answered.compareAndSet(false, true)) {
                onReply.accept(reply(request, headers, null, received, started)
                        .setOutputs(outputs.toProto())
                        .build());
            }
        }

        @Override
        public void abandon(RendezvousException error) {
            if (answered.compareAndSet(false, true)) {
                onError.accept(error);
            }
        }
    }
}
