package io.rendezvous;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.context.Context;
import io.rendezvous.internal.Ids;
import io.rendezvous.v1.DescribeRequest;
import io.rendezvous.v1.FeedbackGrpc;
import io.rendezvous.v1.ModelInfo;
import io.rendezvous.v1.RecordReply;
import io.rendezvous.v1.RecordRequest;
import io.rendezvous.v1.ScoreGrpc;
import io.rendezvous.v1.ScoreRequest;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * Calls an endpoint, or a model directly, without waiting: the same service, another address.
 *
 * <p>Futures fail with the leaf of {@link RendezvousException} for whatever went wrong. Cancelling a future cancels
 * the call; the endpoint may score it all the same. Thread-safe; make one and keep it.
 *
 * <p>Where OpenTelemetry is set up, each request has a span of kind CLIENT, and its context goes along; a request that
 * names a context ({@link ScoreOptions#withTraceContext}) is sent with that one, and has no span here.
 */
public final class AsyncClient implements AutoCloseable {
    private static final long CLOSE_TIMEOUT_S = 5;
    private static final long PING_TIMEOUT_S = 5;

    private final ServerAddress server;
    private final String endpoint;
    private final ClientOptions options;
    private final ManagedChannel channel;
    private final Channel keyed;
    private final ScheduledExecutorService pauses;
    private final OpenTelemetry telemetry;

    /**
     * Makes a client with the default options: key and TLS as the environment says.
     *
     * @param address {@code host:port} of a router or a model
     * @param endpoint endpoint asked; empty where only one is served
     * @throws InvalidRequestException as {@link #AsyncClient(String, String, ClientOptions)}
     */
    public AsyncClient(String address, String endpoint) {
        this(address, endpoint, ClientOptions.DEFAULT);
    }

    /**
     * Makes a client; it connects when it is first used.
     *
     * @param address {@code host:port} of a router or a model
     * @param endpoint endpoint asked; empty where only one is served
     * @param options deadlines, pauses, limits, key and TLS
     * @throws InvalidRequestException the address is not {@code host:port}, a file of key or TLS cannot be used, or the
     *     key would go to another machine in the clear
     */
    public AsyncClient(String address, String endpoint, ClientOptions options) {
        this(address, endpoint, options, null, null);
    }

    /**
     * Makes a client with gRPC credentials of its own; it connects when it is first used.
     *
     * @param address {@code host:port} of a router or a model
     * @param endpoint endpoint asked; empty where only one is served
     * @param options deadlines, pauses, limits, key
     * @param credentials of the connection; the options' TLS does not count
     * @throws InvalidRequestException as {@link #AsyncClient(String, String, ClientOptions)}
     */
    public AsyncClient(String address, String endpoint, ClientOptions options, ChannelCredentials credentials) {
        this(address, endpoint, options, credentials, null);
    }

    /**
     * Makes a client that draws its spans with a given OpenTelemetry; it connects when it is first used.
     *
     * @param address {@code host:port} of a router or a model
     * @param endpoint endpoint asked; empty where only one is served
     * @param options deadlines, pauses, limits, key and TLS
     * @param credentials of the connection; null: as the options say
     * @param telemetry the SDK; null: the global one, if one was set when a call is made
     * @throws InvalidRequestException as {@link #AsyncClient(String, String, ClientOptions)}
     */
    public AsyncClient(
            String address,
            String endpoint,
            ClientOptions options,
            ChannelCredentials credentials,
            OpenTelemetry telemetry) {
        this.telemetry = telemetry;
        this.server = new ServerAddress(address);
        this.endpoint = endpoint;
        this.options = options;
        this.pauses = Executors.newSingleThreadScheduledExecutor(task -> {
            Thread thread = new Thread(task, "rendezvous-client");
            thread.setDaemon(true);
            return thread;
        });
        Connecting connecting = connecting(credentials);
        this.channel = NettyChannelBuilder.forTarget(address, connecting.credentials())
                .maxInboundMessageSize(options.maxMessageBytes())
                .keepAliveTime(Attempts.boundedNs(options.keepalive()), TimeUnit.NANOSECONDS)
                .keepAliveTimeout(PING_TIMEOUT_S, TimeUnit.SECONDS)
                .disableRetry() // retries are ours: with the same request id, and for retryable codes only
                .build();
        this.keyed = connecting.keyed(channel);
    }

    private Connecting connecting(ChannelCredentials credentials) {
        try {
            return Connecting.of(server, options.credentials().orElse(System.getenv()), credentials, pauses);
        } catch (RendezvousException error) {
            pauses.shutdownNow();
            throw error;
        }
    }

    /**
     * Asks what the endpoint says of itself.
     *
     * @return a future of name, version, signature and more
     */
    public CompletableFuture<ModelInfo> describe() {
        DescribeRequest request =
                DescribeRequest.newBuilder().setEndpoint(endpoint).build();
        return call(keyed, ScoreGrpc.getDescribeMethod(), request, new Attempts(options, null));
    }

    /**
     * Scores rows.
     *
     * @param inputs the rows
     * @return a future of the answer, one row for each row sent
     */
    public CompletableFuture<Answer> score(Frame inputs) {
        return score(inputs, ScoreOptions.NONE);
    }

    /**
     * Scores rows; sends them again, with the same request id, after UNAVAILABLE and OVERLOADED while there is time.
     *
     * @param inputs the rows
     * @param request what the request says beside them
     * @return a future of the answer, one row for each row sent
     */
    public CompletableFuture<Answer> score(Frame inputs, ScoreOptions request) {
        Attempts attempts = new Attempts(options, request.timeout());
        ScoreRequest built = build(inputs, request);
        ClientSpan span = span(ScoreGrpc.getScoreMethod(), built, request, Context.current());
        Channel traced = ClientInterceptors.intercept(keyed, MetadataUtils.newAttachHeadersInterceptor(span.headers()));
        CompletableFuture<io.rendezvous.v1.ScoreReply> reply =
                call(traced, ScoreGrpc.getScoreMethod(), built, attempts);
        CompletableFuture<Answer> answer = new CompletableFuture<>();
        reply.whenComplete((came, error) -> {
            span.end(error); // before the caller goes on: a program that ends then has the span
            if (error == null) {
                answer.complete(new Answer(came));
            } else {
                answer.completeExceptionally(error);
            }
        });
        answer.whenComplete((came, error) -> {
            span.end(error); // of a caller that cancelled
            reply.cancel(true);
        });
        return answer;
    }

    /**
     * Scores many tables over one call; no more than {@link ClientOptions#maxStreamed} are unanswered at a time.
     *
     * @param tables each becomes a request; read on the client's threads, as answers come
     * @param onAnswer gets the answers in the order of the tables, one at a time; a request that failed gives an
     *     answer with an error
     * @return a future that is completed after the last answer; fails if the stream as a whole ended early
     */
    public CompletableFuture<Void> stream(Iterable<Frame> tables, Consumer<Answer> onAnswer) {
        StreamCall call = new StreamCall(keyed, options.maxStreamed(), server);
        Context current = Context.current();
        call.pump(tables.iterator(), frame -> streamed(frame, current), onAnswer);
        return call.done();
    }

    /**
     * Scores a large table in chunks, some at a time over one connection; each is a request of its own, with its own
     * deadline, sent again as {@link #score(Frame, ScoreOptions)} does.
     *
     * @param table any number of rows
     * @param chunkRows rows of one request, 1 or more; the last may have fewer
     * @param progress is told how far it has come; {@link ProgressBar#onTerminal} shows it
     * @return a future of all chunks in the order of the rows, also where some or all have failed; after
     *     UNAUTHENTICATED, PERMISSION_DENIED, UNKNOWN_ENDPOINT, UNKNOWN_MODEL, UNIMPLEMENTED and UNAVAILABLE no further
     *     chunk is sent, and those left have failed the same way. Cancelling it cancels what is under way
     * @throws InvalidRequestException the number of rows is not positive
     */
    public CompletableFuture<ScoredTable> scoreTable(Frame table, int chunkRows, TableProgress progress) {
        return scoreTable(table, chunkRows, progress, ScoreOptions.NONE);
    }

    /**
     * Scores a large table in chunks; see {@link #scoreTable(Frame, int, TableProgress)}.
     *
     * @param table any number of rows
     * @param chunkRows rows of one request, 1 or more
     * @param progress is told how far it has come
     * @param request what each request says beside its rows; without a request id, as there are many
     * @return a future of all chunks in the order of the rows
     * @throws InvalidRequestException the number of rows is not positive, or there is a request id
     */
    public CompletableFuture<ScoredTable> scoreTable(
            Frame table, int chunkRows, TableProgress progress, ScoreOptions request) {
        if (request.requestId() != null) {
            throw new InvalidRequestException("request id '" + request.requestId()
                    + "' is given for a table: its chunks need an id each, leave" + " it out");
        }
        return new TableCall(table, chunkRows, chunk -> score(chunk, request), progress).start();
    }

    /**
     * Reports what turned out to be true: all outcomes are kept, or none.
     *
     * @param outcomes 1 to 10,000
     * @return a future of their ids, in their order, once they are on disk
     */
    public CompletableFuture<List<String>> record(List<Outcome> outcomes) {
        return record(outcomes, null);
    }

    /**
     * Reports what turned out to be true: all outcomes are kept, or none. Sent again, with the same ids, after
     * UNAVAILABLE and OVERLOADED while there is time; each counts once.
     *
     * @param outcomes 1 to 10,000
     * @param timeout deadline, retries included; null: the client's default
     * @return a future of their ids, in their order, once they are on disk; fails with
     *     {@link InvalidRequestException} where some are wrong, whose attributes {@code outcome.<i>} say what is, and
     *     with {@link UnavailableException} where it is not known whether they were kept
     */
    public CompletableFuture<List<String>> record(List<Outcome> outcomes, Duration timeout) {
        if (timeout != null) {
            ClientOptions.checkPositive("timeout", timeout);
        }
        RecordRequest.Builder request = RecordRequest.newBuilder().setEndpoint(endpoint);
        outcomes.forEach(outcome -> request.addOutcomes(outcome.toProto()));
        CompletableFuture<RecordReply> reply =
                call(keyed, FeedbackGrpc.getRecordMethod(), request.build(), new Attempts(options, timeout));
        CompletableFuture<List<String>> ids = new CompletableFuture<>();
        reply.whenComplete((came, error) -> {
            if (error == null) {
                ids.complete(List.copyOf(came.getFeedbackIdsList()));
            } else {
                ids.completeExceptionally(error);
            }
        });
        ids.whenComplete((came, error) -> reply.cancel(true));
        return ids;
    }

    /** Closes the connection; calls under way end with UNAVAILABLE. */
    @Override
    public void close() {
        channel.shutdownNow();
        pauses.shutdownNow();
        try {
            channel.awaitTermination(CLOSE_TIMEOUT_S, TimeUnit.SECONDS);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    ManagedChannel channel() {
        return channel;
    }

    ClientOptions options() {
        return options;
    }

    private StreamCall.Sent streamed(Frame frame, Context current) {
        ScoreRequest request = build(frame, ScoreOptions.NONE);
        ClientSpan span = span(ScoreGrpc.getScoreStreamMethod(), request, ScoreOptions.NONE, current);
        return new StreamCall.Sent(span.written(request), span);
    }

    private ClientSpan span(MethodDescriptor<?, ?> method, ScoreRequest sent, ScoreOptions request, Context current) {
        OpenTelemetry used = telemetry == null ? GlobalOpenTelemetry.getOrNoop() : telemetry;
        return ClientSpan.start(used, current, method.getFullMethodName(), server, sent, request);
    }

    ScoreRequest build(Frame inputs, ScoreOptions request) {
        ScoreRequest.Builder built = ScoreRequest.newBuilder()
                .setRequestId(request.requestId() == null ? Ids.newId() : request.requestId())
                .setEndpoint(endpoint)
                .setInputs(inputs.toProto())
                .putAllContext(request.context());
        if (request.explain() || request.forceTrace() || !request.forceModel().isEmpty()) {
            built.getDiagnosticsBuilder()
                    .setExplain(request.explain())
                    .setForceModel(request.forceModel())
                    .setForceTrace(request.forceTrace());
        }
        return built.build();
    }

    private <Q, R> CompletableFuture<R> call(
            Channel through, MethodDescriptor<Q, R> method, Q request, Attempts attempts) {
        CompletableFuture<R> result = new CompletableFuture<>();
        attempt(through, method, request, attempts, result);
        return result;
    }

    private <Q, R> void attempt(
            Channel through, MethodDescriptor<Q, R> method, Q request, Attempts attempts, CompletableFuture<R> result) {
        if (result.isDone()) {
            return;
        }
        CallOptions limits = CallOptions.DEFAULT.withDeadlineAfter(attempts.leftNs(), TimeUnit.NANOSECONDS);
        ClientCall<Q, R> call = through.newCall(method, limits);
        result.whenComplete((reply, error) -> {
            if (result.isCancelled()) {
                call.cancel("cancelled by the caller", null);
            }
        });
        ClientCalls.asyncUnaryCall(call, request, new StreamObserver<>() {
            private R reply; // no answer before the status says so: a router that refuses sends an empty one

            @Override
            public void onNext(R came) {
                reply = came;
            }

            @Override
            public void onError(Throwable failure) {
                repeat(server.failure(failure));
            }

            @Override
            public void onCompleted() {
                if (reply == null) {
                    result.completeExceptionally(new InternalException("the server ended the call without an answer"));
                } else {
                    result.complete(reply);
                }
            }

            private void repeat(RendezvousException error) {
                long pauseNs = attempts.pauseAfterNs(error);
                if (pauseNs < 0 || pauses.isShutdown()) {
                    result.completeExceptionally(error);
                    return;
                }
                pauses.schedule(
                        () -> {
                            channel.resetConnectBackoff(); // a server that restarts is found again at once
                            attempt(through, method, request, attempts, result);
                        },
                        pauseNs,
                        TimeUnit.NANOSECONDS);
            }
        });
    }
}
