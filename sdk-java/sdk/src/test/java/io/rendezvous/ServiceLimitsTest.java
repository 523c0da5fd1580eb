package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.CallOptions;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import io.rendezvous.internal.GrpcErrors;
import io.rendezvous.v1.DataType;
import io.rendezvous.v1.ScoreGrpc;
import io.rendezvous.v1.ScoreReply;
import io.rendezvous.v1.ScoreRequest;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What is too much for the service of a model, and what is said of it. */
@Timeout(30)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ServiceLimitsTest {
    private static final Model WORDY = inputs -> {
        if (!inputs.has("talk")) {
            return Frame.builder().fp64("y", inputs.fp64("x").toArray()).build();
        }
        Map<String, String> attributes = new LinkedHashMap<>();
        for (int number = 0; number < 300; number++) {
            attributes.put("attribute " + number, inputs.string("talk").get(0).repeat(10));
        }
        throw new ModelFailedException(inputs.string("talk").get(0).repeat(3000), attributes);
    };

    private ModelServer server;
    private ManagedChannel channel;

    @BeforeAll
    void start() throws Exception {
        server = ModelServer.builder(WORDY)
                .endpoint("e")
                .options(options -> options.postbox(false).maxRows(1000).scoringLimit(Duration.ofSeconds(10)))
                .build()
                .start();
        channel = NettyChannelBuilder.forTarget(server.grpcAddress(), InsecureChannelCredentials.create())
                .build();
    }

    @AfterAll
    void stop() {
        channel.shutdownNow();
        server.close();
    }

    private static ScoreRequest request(UnaryOperator<ScoreRequest.Builder> change) {
        Frame inputs = Frame.builder().fp64("x", 1).build();
        return change.apply(ScoreRequest.newBuilder().setInputs(inputs.toProto()))
                .build();
    }

    private static ScoreRequest talk(String word) {
        return request(
                r -> r.setInputs(Frame.builder().string("talk", word).build().toProto()));
    }

    static Stream<Arguments> longErrors() {
        String name = "n".repeat(30_000);
        return Stream.of(
                Arguments.of(ErrorCode.UNKNOWN_ENDPOINT, request(r -> r.setEndpoint(name))),
                Arguments.of(ErrorCode.INVALID_REQUEST, request(r -> r.setRequestId(name))),
                Arguments.of(ErrorCode.UNKNOWN_MODEL, request(r -> {
                    r.getDiagnosticsBuilder().setForceModel(name);
                    return r;
                })),
                Arguments.of(ErrorCode.MODEL_FAILED, request(r -> {
                    var column = r.getInputs().getColumns(0);
                    r.getInputsBuilder().clearColumns();
                    for (int number = 0; number < 900; number++) {
                        r.getInputsBuilder()
                                .addColumns(column.toBuilder().setName("column " + number + " ".repeat(200)));
                    }
                    return r;
                })),
                Arguments.of(ErrorCode.MODEL_FAILED, talk("word ")),
                Arguments.of(ErrorCode.MODEL_FAILED, talk("\u6f22\u5b57")),
                Arguments.of(ErrorCode.MODEL_FAILED, talk("x\ud83d\ude00")));
    }

    /** However much there would be to say, the error arrives, by its code, within what metadata may hold. */
    @ParameterizedTest(name = "{0}")
    @MethodSource
    void longErrors(ErrorCode code, ScoreRequest request) {
        StatusRuntimeException failed = assertThrows(
                StatusRuntimeException.class,
                () -> ScoreGrpc.newBlockingStub(channel).score(request));
        RendezvousException error = GrpcErrors.fromThrowable(failed);
        assertEquals(code, error.code());
        assertTrue(
                error.getMessage().length() <= 1000,
                "message of " + error.getMessage().length());
        assertTrue(error.getMessage().startsWith(failed.getStatus().getDescription()));
        int bytes = error.toProto().getSerializedSize();
        assertTrue(bytes <= 4200, "error of " + bytes + " bytes");
        assertTrue(!error.attributes().isEmpty() || code == ErrorCode.SIGNATURE_MISMATCH, "no attributes");
    }

    /** Rows that are claimed, but cost nothing to send, are refused before anything of their number is made. */
    @Test
    void claimedRows() {
        for (long rows : new long[] {1001, 1L << 31, 1L << 62}) {
            ScoreRequest request = request(r -> {
                r.getInputsBuilder().setRows(rows).clearColumns();
                r.getInputsBuilder()
                        .addColumnsBuilder()
                        .setName("x")
                        .setType(DataType.DATA_TYPE_FP64)
                        .addShape(0);
                return r;
            });
            StatusRuntimeException failed = assertThrows(
                    StatusRuntimeException.class,
                    () -> ScoreGrpc.newBlockingStub(channel).score(request));
            RendezvousException error = GrpcErrors.fromThrowable(failed);
            assertEquals(ErrorCode.TOO_LARGE, error.code());
            assertEquals("1000", error.attributes().get("limit"), error.getMessage());
        }
        ScoreRequest unsound = request(r -> {
            r.getInputsBuilder().setRows(1L << 61);
            return r;
        });
        StatusRuntimeException failed = assertThrows(
                StatusRuntimeException.class,
                () -> ScoreGrpc.newBlockingStub(channel).score(unsound));
        assertEquals(ErrorCode.INVALID_FRAME, GrpcErrors.fromThrowable(failed).code());
        ScoreRequest most = request(r ->
                r.setInputs(Frame.builder().fp64("x", new double[1000]).build().toProto()));
        assertEquals(
                1000,
                ScoreGrpc.newBlockingStub(channel).score(most).getOutputs().getRows());
    }

    static Stream<Arguments> unread() {
        byte[] good =
                request(r -> r.setRequestId("r-7").putContext("k", "QQQQ")).toByteArray();
        String latin = new String(good, StandardCharsets.ISO_8859_1);
        byte[] garbled = latin.replace("QQQQ", "Q\u00ffQQ").getBytes(StandardCharsets.ISO_8859_1);
        byte[] huge = request(r -> r.setRequestId("r-7").putContext("k", "a".repeat(5 << 20)))
                .toByteArray();
        byte[] nameless = latin.replace("r-7", "r\u00ff7").getBytes(StandardCharsets.ISO_8859_1);
        return Stream.of(
                Arguments.of("bad UTF-8", garbled, ErrorCode.INVALID_REQUEST, "r-7"),
                Arguments.of("too large", huge, ErrorCode.TOO_LARGE, "r-7"),
                Arguments.of("bad UTF-8 in the id", nameless, ErrorCode.INVALID_REQUEST, null));
    }

    /** A streamed request that cannot be parsed or is too large is answered under its own id all the same. */
    @ParameterizedTest(name = "{0}")
    @MethodSource
    void unread(String name, byte[] request, ErrorCode code, String id) throws Exception {
        CompletableFuture<ScoreReply> reply = new CompletableFuture<>();
        MethodDescriptor<byte[], ScoreReply> method = ScoreGrpc.getScoreStreamMethod().toBuilder(
                        new Raw(), ScoreGrpc.getScoreStreamMethod().getResponseMarshaller())
                .build();
        StreamObserver<byte[]> sender = ClientCalls.asyncBidiStreamingCall(
                channel.newCall(method, CallOptions.DEFAULT), new StreamObserver<>() {
                    @Override
                    public void onNext(ScoreReply answer) {
                        reply.complete(answer);
                    }

                    @Override
                    public void onError(Throwable error) {
                        reply.completeExceptionally(error);
                    }

                    @Override
                    public void onCompleted() {
                        reply.completeExceptionally(new IllegalStateException("no answer"));
                    }
                });
        sender.onNext(request);
        sender.onCompleted();
        ScoreReply answer = reply.get(20, TimeUnit.SECONDS);
        assertEquals(code.number(), answer.getError().getCodeValue(), name);
        assertTrue(id == null ? !answer.getRequestId().isEmpty() : id.equals(answer.getRequestId()));
    }

    private static final class Raw implements MethodDescriptor.Marshaller<byte[]> {
        @Override
        public InputStream stream(byte[] value) {
            return new ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(InputStream stream) {
            throw new UnsupportedOperationException("requests are only sent");
        }
    }
}
