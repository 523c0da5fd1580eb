package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.context.Scope;
import io.opentelemetry.sdk.testing.junit5.OpenTelemetryExtension;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.rendezvous.v1.ScoreGrpc;
import io.rendezvous.v1.ScoreReply;
import io.rendezvous.v1.ScoreRequest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/** The spans of clients, and of a model's own gRPC door. */
@Timeout(30)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class CallTracesTest {
    private static final String PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    private static final String UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    private static final String SCORE = "rendezvous.v1.Score/Score";

    @RegisterExtension
    static final OpenTelemetryExtension TELEMETRY = OpenTelemetryExtension.create();

    private ModelServer server;
    private Client client;
    private ManagedChannel channel;

    private static Frame checked(Frame inputs) {
        if (inputs.fp64("x").get(0) < 0) {
            throw new IllegalStateException("negative");
        }
        Span.current().addEvent("scored");
        return Frame.builder().fp64("y", inputs.fp64("x").toArray()).build();
    }

    @BeforeAll
    void start() throws Exception {
        server = ModelServer.builder(CallTracesTest::checked)
                .endpoint("e")
                .name("m")
                .options(options -> options.postbox(false))
                .openTelemetry(TELEMETRY.getOpenTelemetry())
                .build()
                .start();
        client = new Client(server.grpcAddress(), "e");
        channel = NettyChannelBuilder.forTarget(server.grpcAddress(), InsecureChannelCredentials.create())
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

    private static List<SpanData> spans(SpanKind kind) {
        return TELEMETRY.getSpans().stream()
                .filter(span -> span.getKind() == kind)
                .toList();
    }

    private static String text(SpanData span, String name) {
        return span.getAttributes().get(AttributeKey.stringKey(name));
    }

    private static String traceparent(SpanData span) {
        return "00-" + span.getTraceId() + "-" + span.getSpanId() + "-"
                + span.getSpanContext().getTraceFlags().asHex();
    }

    private ScoreReply call(String traceparent) {
        ScoreRequest request = ScoreRequest.newBuilder()
                .setInputs(x(1).toProto())
                .setTraceparent(traceparent)
                .build();
        return ScoreGrpc.newBlockingStub(channel).score(request);
    }

    /** Caller, client, model: one trace, in which the author's code sees the model's span. */
    @Test
    void clientAndModelShareATrace() {
        Span caller = TELEMETRY
                .getOpenTelemetry()
                .getTracer("t")
                .spanBuilder("caller")
                .startSpan();
        Answer answer;
        try (Scope scope = caller.makeCurrent()) {
            assertFalse(scope == null);
            answer = client.score(x(1, 2), ScoreOptions.NONE.withRequestId("r-1"));
        }
        SpanData sent = spans(SpanKind.CLIENT).get(0);
        SpanData served = spans(SpanKind.SERVER).get(0);
        assertEquals(caller.getSpanContext().getSpanId(), sent.getParentSpanId());
        assertEquals(sent.getSpanId(), served.getParentSpanId());
        assertEquals(traceparent(served), answer.toProto().getTraceparent());
        assertEquals("scored", served.getEvents().get(0).getName());
        for (SpanData span : List.of(sent, served)) {
            assertEquals(SCORE, span.getName());
            assertEquals("grpc", text(span, "rpc.system.name"));
            assertEquals(SCORE, text(span, "rpc.method"));
            assertEquals("OK", text(span, "rpc.response.status_code"));
            assertEquals("127.0.0.1", text(span, "server.address"));
            String port = server.grpcAddress().split(":")[1];
            assertEquals(Long.parseLong(port), span.getAttributes().get(AttributeKey.longKey("server.port")));
            assertEquals("r-1", text(span, "rendezvous.request_id"));
            assertEquals("e", text(span, "rendezvous.endpoint"));
            assertEquals(2, span.getAttributes().get(AttributeKey.longKey("rendezvous.rows")));
        }
        assertEquals("m", text(served, "rendezvous.model"));
    }

    /** A request that fails has its status and code on both spans. */
    @Test
    void failuresAreErrors() {
        assertThrows(ModelFailedException.class, () -> client.score(x(-1)));
        for (SpanKind kind : List.of(SpanKind.CLIENT, SpanKind.SERVER)) {
            SpanData span = spans(kind).get(0);
            assertEquals(StatusCode.ERROR, span.getStatus().getStatusCode());
            assertEquals("MODEL_FAILED", text(span, "error.type"));
            assertEquals("INTERNAL", text(span, "rpc.response.status_code"));
        }
    }

    /** Whoever has the answer has the span: a program that ends then loses none. */
    @Test
    void spansEndBeforeTheirCallerGoesOn() {
        for (int asked = 1; asked <= 300; asked++) {
            client.score(x(1));
            assertEquals(asked, spans(SpanKind.CLIENT).size());
            assertEquals(asked, spans(SpanKind.SERVER).size());
        }
    }

    /** A request is one span at its client, however often it is sent. */
    @Test
    void retriesAreOneSpan() {
        try (Client lonely = new Client("127.0.0.1:1", "e")) {
            ScoreOptions brief = ScoreOptions.NONE.withTimeout(Duration.ofMillis(200));
            assertThrows(UnavailableException.class, () -> lonely.score(x(1), brief));
        }
        SpanData span = spans(SpanKind.CLIENT).get(0);
        assertEquals(1, spans(SpanKind.CLIENT).size());
        assertEquals("UNAVAILABLE", text(span, "rpc.response.status_code"));
    }

    /** A context that the request names is sent as it is, and the client draws nothing. */
    @Test
    void explicitContextWins() {
        client.score(x(1), ScoreOptions.NONE.withTraceContext(PARENT, "a=1"));
        assertTrue(spans(SpanKind.CLIENT).isEmpty());
        SpanData served = spans(SpanKind.SERVER).get(0);
        assertEquals("b7ad6b7169203331", served.getParentSpanId());
        assertEquals("1", served.getSpanContext().getTraceState().get("a"));
    }

    /** Each request of a stream has a trace context of its own. */
    @Test
    void streamedRequestsHaveSpans() {
        List<Answer> answers = new ArrayList<>();
        client.stream(List.of(x(1), x(-1), x(2))).forEachRemaining(answers::add);
        assertEquals(3, spans(SpanKind.CLIENT).size());
        for (SpanData served : spans(SpanKind.SERVER)) {
            SpanData sent = spans(SpanKind.CLIENT).stream()
                    .filter(span -> span.getSpanId().equals(served.getParentSpanId()))
                    .findAny()
                    .orElseThrow();
            assertEquals("rendezvous.v1.Score/ScoreStream", served.getName());
            assertEquals(served.getTraceId(), sent.getTraceId());
            assertEquals(text(served, "error.type"), text(sent, "error.type"));
        }
        assertEquals(
                3,
                spans(SpanKind.CLIENT).stream()
                        .map(SpanData::getTraceId)
                        .distinct()
                        .count());
        assertEquals(
                traceparent(served(answers.get(1))), answers.get(1).toProto().getTraceparent());
    }

    private static SpanData served(Answer answer) {
        return spans(SpanKind.SERVER).stream()
                .filter(span -> answer.requestId().equals(text(span, "rendezvous.request_id")))
                .findAny()
                .orElseThrow();
    }

    /** The model answers with its span's context, or the request's own where that is not sampled, or with none. */
    @Test
    void answersContexts() {
        ScoreReply reply = call(PARENT);
        assertEquals(traceparent(spans(SpanKind.SERVER).get(0)), reply.getTraceparent());
        assertEquals(UNSAMPLED, call(UNSAMPLED).getTraceparent());
        assertEquals("", call("00-x").getTraceparent());
        assertEquals("", call("").getTraceparent());
    }
}
