package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.opentelemetry.sdk.testing.junit5.OpenTelemetryExtension;
import io.rendezvous.internal.GrpcErrors;
import io.rendezvous.v1.ModelInfo;
import io.rendezvous.v1.ScoreGrpc;
import io.rendezvous.v1.ScoreReply;
import io.rendezvous.v1.ScoreRequest;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The service of a model over gRPC, called by the SDK's clients and by bare stubs. */
@Timeout(30)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ServiceTest {
    private static final String PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    @RegisterExtension
    static final OpenTelemetryExtension TELEMETRY = OpenTelemetryExtension.create();

    private ModelServer server;
    private Client client;
    private ManagedChannel channel;

    /** Doubles x; negative x fails; a column {@code sleep_ms} makes it wait. */
    private static final class Doubling implements Model {
        @Override
        public ModelInfo info() {
            return ModelDescription.builder().task("doubling").build();
        }

        @Override
        public Frame score(Frame inputs) throws Exception {
            double[] y = inputs.fp64("x").toArray();
            for (int row = 0; row < y.length; row++) {
                if (y[row] < 0) {
                    throw new IllegalStateException("negative");
                }
                y[row] *= 2;
            }
            if (inputs.has("sleep_ms")) {
                Thread.sleep(inputs.int64("sleep_ms").get(0));
            }
            return Frame.builder().fp64("y", y).build();
        }
    }

    @BeforeAll
    void start() throws Exception {
        server = ModelServer.builder(new Doubling())
                .endpoint("e")
                .options(options -> options.postbox(false).scoringLimit(Duration.ofMillis(300)))
                .openTelemetry(TELEMETRY.getOpenTelemetry())
                .build()
                .start();
        client = new Client(server.grpcAddress(), "e");
        channel = NettyChannelBuilder.forTarget(server.grpcAddress(), InsecureChannelCredentials.create())
                .maxInboundMessageSize(1 << 30)
                .build();
    }

    @AfterAll
    void stop() {
        client.close();
        channel.shutdownNow();
        server.close();
    }

    private static Frame x(double... values) {
        return Frame.builder().fp64("x", values).build();
    }

    private static ScoreRequest request(UnaryOperator<ScoreRequest.Builder> change) {
        return change.apply(ScoreRequest.newBuilder().setInputs(x(1).toProto())).build();
    }

    /** Describe tells name, version, task, language and SDK. */
    @Test
    void describes() {
        ModelInfo info = client.describe();
        assertEquals("Doubling", info.getName());
        assertEquals("1", info.getVersion());
        assertEquals("doubling", info.getTask());
        assertEquals("java", info.getLanguage());
        assertEquals("rendezvous-sdk-java 0.1.0", info.getSdk());
        assertTrue(info.getPackagesList().stream()
                .anyMatch(found -> found.getName().equals("jnats")));
    }

    /** A request is answered with its id, model, rows and timing. */
    @Test
    void scores() {
        Answer answer = client.score(x(1, 2), ScoreOptions.NONE.withRequestId("r-1"));
        assertEquals("r-1", answer.requestId());
        assertEquals("Doubling", answer.model());
        assertEquals(4, answer.frame().fp64("y").get(1));
        assertTrue(answer.toProto().getTiming().getStartedUnixUs() > 0);
        assertTrue(answer.decision().isEmpty());
    }

    static Stream<Arguments> refused() {
        return Stream.of(
                row(ErrorCode.INVALID_REQUEST, "request id 'a b'", r -> r.setRequestId("a b")),
                row(ErrorCode.UNKNOWN_ENDPOINT, "endpoint 'other'", r -> r.setEndpoint("other")),
                row(ErrorCode.UNKNOWN_MODEL, "model 'other'", r -> {
                    r.getDiagnosticsBuilder().setForceModel("other");
                    return r;
                }),
                row(ErrorCode.INVALID_FRAME, "0 rows", ScoreRequest.Builder::clearInputs),
                row(ErrorCode.INVALID_FRAME, "column 'x'", r -> {
                    r.getInputsBuilder().setRows(2);
                    return r;
                }),
                row(ErrorCode.TOO_LARGE, "rows; the limit", r -> {
                    r.getInputsBuilder().clearColumns().setRows(100_000_000);
                    return r;
                }),
                row(ErrorCode.TOO_LARGE, "bytes; the limit is 4194304", r -> r.putContext("a", "a".repeat(5 << 20))),
                row(ErrorCode.MODEL_FAILED, "no column 'x'", r -> {
                    r.getInputsBuilder().getColumnsBuilder(0).setName("z");
                    return r;
                }),
                row(
                        ErrorCode.MODEL_FAILED,
                        "the model raised IllegalStateException: negative",
                        r -> r.setInputs(x(-1).toProto())));
    }

    private static Arguments row(ErrorCode code, String message, UnaryOperator<ScoreRequest.Builder> change) {
        return Arguments.of(code, message, request(change));
    }

    /** What is wrong with a request is its status, its details and, whole, its metadata; in a stream its reply. */
    @ParameterizedTest(name = "{0}: {1}")
    @MethodSource
    void refused(ErrorCode code, String message, ScoreRequest request) throws Exception {
        StatusRuntimeException failed = assertThrows(
                StatusRuntimeException.class,
                () -> ScoreGrpc.newBlockingStub(channel).score(request));
        assertEquals(code.grpcStatus(), failed.getStatus().getCode().name());
        RendezvousException error = GrpcErrors.fromThrowable(failed);
        assertEquals(code, error.code());
        assertTrue(error.getMessage().contains(message), error.getMessage());
        ScoreReply streamed = stream(List.of(request)).get(0);
        assertEquals(code.number(), streamed.getError().getCodeValue());
        assertEquals(error.getMessage(), streamed.getError().getMessage());
    }

    private List<ScoreReply> stream(List<ScoreRequest> requests) throws Exception {
        List<ScoreReply> replies = new ArrayList<>();
        CompletableFuture<Void> done = new CompletableFuture<>();
        var sender = ScoreGrpc.newStub(channel).scoreStream(new io.grpc.stub.StreamObserver<>() {
            @Override
            public void onNext(ScoreReply reply) {
                replies.add(reply);
            }

            @Override
            public void onError(Throwable error) {
                done.completeExceptionally(error);
            }

            @Override
            public void onCompleted() {
                done.complete(null);
            }
        });
        requests.forEach(sender::onNext);
        sender.onCompleted();
        done.get(20, TimeUnit.SECONDS);
        return replies;
    }

    /** Text that is no UTF-8 is refused with the column's name. */
    @Test
    void namesBadUtf8() {
        byte[] good = ScoreRequest.newBuilder()
                .setInputs(Frame.builder()
                        .fp64("x", 1)
                        .string("purpose", "QQQQ")
                        .build()
                        .toProto())
                .build()
                .toByteArray();
        String latin = new String(good, StandardCharsets.ISO_8859_1);
        byte[] bad = latin.replace("QQQQ", "Q\u00ffQQ").getBytes(StandardCharsets.ISO_8859_1);
        var raw = ScoreGrpc.getScoreMethod().toBuilder(
                        new Raw(), ScoreGrpc.getScoreMethod().getResponseMarshaller())
                .build();
        StatusRuntimeException failed = assertThrows(
                StatusRuntimeException.class,
                () -> io.grpc.stub.ClientCalls.blockingUnaryCall(channel, raw, io.grpc.CallOptions.DEFAULT, bad));
        RendezvousException error = GrpcErrors.fromThrowable(failed);
        assertEquals(ErrorCode.INVALID_FRAME, error.code());
        assertEquals("column 'purpose': element 0 is not valid UTF-8", error.getMessage());
        assertEquals("purpose", error.attributes().get("column"));
    }

    private static final class Raw implements io.grpc.MethodDescriptor.Marshaller<byte[]> {
        @Override
        public java.io.InputStream stream(byte[] value) {
            return new java.io.ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(java.io.InputStream stream) {
            throw new UnsupportedOperationException("requests are only sent");
        }
    }

    /** Scoring that takes too long is interrupted and answered, and the model goes on. */
    @Test
    void limitsScoring() {
        Frame sleepy = Frame.builder().fp64("x", 1).int64("sleep_ms", 20_000).build();
        ModelFailedException error = assertThrows(ModelFailedException.class, () -> client.score(sleepy));
        assertEquals("the model took longer than 0.3 s (its scoring limit)", error.getMessage());
        assertEquals(2, client.score(x(1)).frame().fp64("y").get(0));
    }

    /** A deadline that passes while the model works is NO_ANSWER to the client. */
    @Test
    void deadlines() {
        Frame sleepy = Frame.builder().fp64("x", 1).int64("sleep_ms", 200).build();
        ScoreOptions brief = ScoreOptions.NONE.withTimeout(Duration.ofMillis(50));
        assertThrows(NoAnswerException.class, () -> client.score(sleepy, brief));
    }

    /** A stream's answers come in the order of its tables; one that failed has an error, and the stream goes on. */
    @Test
    void streams() {
        List<Frame> tables = IntStream.range(0, 500)
                .mapToObj(number -> x(number == 7 ? -1 : number))
                .toList();
        Iterator<Answer> answers = client.stream(tables);
        for (int number = 0; number < 500; number++) {
            Answer answer = answers.next();
            if (number == 7) {
                assertEquals(
                        ErrorCode.MODEL_FAILED, answer.error().orElseThrow().code());
            } else {
                assertEquals(2.0 * number, answer.frame().fp64("y").get(0));
            }
        }
        assertFalse(answers.hasNext());
    }

    /** What a caller's own tables throw ends the stream with it. */
    @Test
    void streamsEndWithTheCallersError() {
        Iterable<Frame> broken = () -> IntStream.range(0, 3)
                .mapToObj(number -> {
                    if (number == 2) {
                        throw new IllegalStateException("no more");
                    }
                    return x(number);
                })
                .iterator();
        Iterator<Answer> answers = client.stream(broken);
        IllegalStateException error = assertThrows(IllegalStateException.class, () -> {
            while (answers.hasNext()) {
                answers.next();
            }
        });
        assertEquals("no more", error.getMessage());
    }

    /** Many calls at a time are each answered with their own rows. */
    @Test
    void answersConcurrentCalls() throws Exception {
        List<CompletableFuture<Answer>> calls = new ArrayList<>();
        for (int number = 0; number < 200; number++) {
            calls.add(client.scoreAsync(x(number)));
        }
        for (int number = 0; number < 200; number++) {
            assertEquals(2.0 * number, calls.get(number).get().frame().fp64("y").get(0));
        }
    }

    /** Health is served for the server and the service, and ends with it. */
    @Test
    void health() throws Exception {
        try (ModelServer other = ModelServer.builder(new Doubling())
                .endpoint("e")
                .options(options -> options.postbox(false))
                .build()
                .start()) {
            ManagedChannel toOther = NettyChannelBuilder.forTarget(
                            other.grpcAddress(), InsecureChannelCredentials.create())
                    .build();
            for (String service : new String[] {"", "rendezvous.v1.Score"}) {
                HealthCheckRequest asked =
                        HealthCheckRequest.newBuilder().setService(service).build();
                assertEquals(
                        ServingStatus.SERVING,
                        HealthGrpc.newBlockingStub(toOther).check(asked).getStatus());
            }
            UnavailableException taken = assertThrows(
                    UnavailableException.class,
                    () -> ModelServer.builder(new Doubling())
                            .endpoint("e")
                            .grpcPort(Integer.parseInt(other.grpcAddress().split(":")[1]))
                            .options(options -> options.postbox(false))
                            .build()
                            .start());
            assertTrue(taken.getMessage().contains("the port is taken"), taken.getMessage());
            toOther.shutdownNow();
        }
    }

    /** A model whose setup fails does not start. */
    @Test
    void setupFails() {
        Model broken = new Model() {
            @Override
            public void setup() {
                throw new IllegalStateException("no file");
            }

            @Override
            public Frame score(Frame inputs) {
                return inputs;
            }
        };
        ModelServer failing = ModelServer.builder(broken)
                .endpoint("e")
                .options(options -> options.postbox(false))
                .build();
        assertEquals("model", failing.options().name());
        assertThrows(IllegalStateException.class, failing::start);
        failing.close();
        assertEquals(Status.Code.INTERNAL.name(), ErrorCode.MODEL_FAILED.grpcStatus());
    }
}
