package io.rendezvous.integration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nats.client.Connection;
import io.nats.client.Message;
import io.nats.client.Subscription;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.sdk.testing.junit5.OpenTelemetryExtension;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.rendezvous.Frame;
import io.rendezvous.Model;
import io.rendezvous.ModelServer;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelItem;
import io.rendezvous.v1.ParcelScore;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/** The spans of a model at a real postbox. */
@Timeout(40)
class TracedModelTest {
    private static final Duration PATIENCE = Duration.ofSeconds(10);
    private static final String SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    private static final String SAMPLED_TOO = "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01";
    private static final String UNSAMPLED = "00-2cf7651916cd43dd8448eb211c80319c-d7ad6b7169203331-00";

    @RegisterExtension
    static final OpenTelemetryExtension TELEMETRY = OpenTelemetryExtension.create();

    private NatsServer nats;
    private Connection router;
    private Subscription scores;

    @BeforeEach
    void start() throws Exception {
        nats = new NatsServer();
        router = nats.connect("e");
        scores = router.subscribe("rv.*.score.*.r1");
        router.flush(PATIENCE);
    }

    @AfterEach
    void stop() throws Exception {
        router.close();
        nats.close();
    }

    private ModelServer serve(Model model) throws Exception {
        return ModelServer.builder(model)
                .endpoint("e")
                .name("m")
                .version("1.2")
                .nats(nats.url())
                .options(options -> options.scoringLimit(Duration.ofSeconds(1)))
                .openTelemetry(TELEMETRY.getOpenTelemetry())
                .build()
                .start();
    }

    private static Parcel parcel(double[] values, String... traceparents) {
        Parcel.Builder parcel = Parcel.newBuilder()
                .setParcelId("p1")
                .setEndpoint("e")
                .setRouter("r1")
                .setInputs(Frame.builder().fp64("x", values).build().toProto());
        for (int row = 0; row < values.length; row++) {
            parcel.addItems(ParcelItem.newBuilder()
                    .setRequestId("q" + row)
                    .setRows(1)
                    .setBudgetUs(30_000_000)
                    .setTraceparent(traceparents[row]));
        }
        return parcel.build();
    }

    private ParcelScore scored(Parcel parcel) throws Exception {
        router.jetStream().publish("rv.e.input", parcel.toByteArray());
        Message message = scores.nextMessage(PATIENCE);
        assertNotNull(message, "no score within " + PATIENCE);
        return ParcelScore.parseFrom(message.getData());
    }

    private static Frame checked(Frame inputs) {
        for (double x : inputs.fp64("x").toArray()) {
            if (x < 0) {
                throw new IllegalStateException("negative");
            }
        }
        TELEMETRY
                .getOpenTelemetry()
                .getTracer("author")
                .spanBuilder("look up")
                .startSpan()
                .end();
        return Frame.builder().fp64("y", inputs.fp64("x").toArray()).build();
    }

    private static SpanData spanOf(String requestId) {
        return TELEMETRY.getSpans().stream()
                .filter(span -> requestId.equals(text(span, "rendezvous.request_id")))
                .findAny()
                .orElse(null);
    }

    private static String text(SpanData span, String name) {
        return span.getAttributes().get(AttributeKey.stringKey(name));
    }

    private static long number(SpanData span, String name) {
        return span.getAttributes().get(AttributeKey.longKey(name));
    }

    private static String traceparent(SpanData span) {
        return "00-" + span.getTraceId() + "-" + span.getSpanId() + "-01";
    }

    /**
     * Each sampled request has a CONSUMER span, child of its context, as long as its timing says, and is answered with
     * it; one that is not sampled is answered with its own context, one whose context is malformed with none.
     */
    @Test
    void continuesEachRequestsTrace() throws Exception {
        try (ModelServer server = serve(TracedModelTest::checked)) {
            ParcelScore score = scored(parcel(new double[] {1, 2, 3, 4}, UNSAMPLED, SAMPLED, SAMPLED_TOO, "00-x"));
            SpanData first = spanOf("q1");
            SpanData second = spanOf("q2");
            assertEquals(
                    List.of(UNSAMPLED, traceparent(first), traceparent(second), ""),
                    score.getItemsList().stream()
                            .map(item -> item.getTraceparent())
                            .toList());
            assertEquals("score m", first.getName());
            assertEquals(SpanKind.CONSUMER, first.getKind());
            assertEquals("b7ad6b7169203331", first.getParentSpanId());
            assertEquals("c7ad6b7169203331", second.getParentSpanId());
            assertEquals(
                    score.getTiming().getStartedUnixUs(), TimeUnit.NANOSECONDS.toMicros(first.getStartEpochNanos()));
            assertEquals(
                    score.getTiming().getFinishedUnixUs(), TimeUnit.NANOSECONDS.toMicros(first.getEndEpochNanos()));
            Map<String, String> expected = Map.ofEntries(
                    Map.entry("messaging.system", "nats"),
                    Map.entry("messaging.operation.name", "score"),
                    Map.entry("messaging.operation.type", "process"),
                    Map.entry("messaging.destination.template", "rv.{endpoint}.input"),
                    Map.entry("messaging.destination.name", "rv.e.input"),
                    Map.entry("messaging.consumer.group.name", "m__1-2"),
                    Map.entry("rendezvous.endpoint", "e"),
                    Map.entry("rendezvous.model", "m"),
                    Map.entry("rendezvous.version", "1.2"),
                    Map.entry("rendezvous.request_id", "q1"),
                    Map.entry("rendezvous.parcel_id", "p1"));
            expected.forEach((name, value) -> assertEquals(value, text(first, name), name));
            assertEquals(1, number(first, "rendezvous.rows"));
            assertEquals(1, number(first, "rendezvous.delivery"));
            assertEquals(StatusCode.UNSET, first.getStatus().getStatusCode());
            assertTrue(server.replica().length() > 0);
        }
    }

    /** What the author draws is a child of the first sampled request's span, which is linked with the others. */
    @Test
    void authorsSpansAreChildren() throws Exception {
        try (ModelServer server = serve(TracedModelTest::checked)) {
            scored(parcel(new double[] {1, 2, 3}, UNSAMPLED, SAMPLED, SAMPLED_TOO));
            SpanData first = spanOf("q1");
            SpanData second = spanOf("q2");
            SpanData own = TELEMETRY.getSpans().stream()
                    .filter(span -> span.getName().equals("look up"))
                    .findAny()
                    .orElseThrow();
            assertEquals(first.getSpanId(), own.getParentSpanId());
            assertEquals(
                    List.of(second.getSpanContext()),
                    first.getLinks().stream().map(link -> link.getSpanContext()).toList());
            assertEquals(
                    List.of(first.getSpanContext()),
                    second.getLinks().stream()
                            .map(link -> link.getSpanContext())
                            .toList());
            assertTrue(server.replica().length() > 0);
        }
    }

    /** The span of a request that fails says why; where it fails alone, the author's spans belong to the others. */
    @Test
    void failuresAreErrors() throws Exception {
        try (ModelServer server = serve(TracedModelTest::checked)) {
            scored(parcel(new double[] {-1, 2}, SAMPLED, SAMPLED_TOO));
            SpanData failed = spanOf("q0");
            assertEquals(StatusCode.ERROR, failed.getStatus().getStatusCode());
            assertEquals("MODEL_FAILED", text(failed, "error.type"));
            assertNull(text(spanOf("q1"), "error.type"));
            SpanData own = TELEMETRY.getSpans().stream()
                    .filter(span -> span.getName().equals("look up"))
                    .findAny()
                    .orElseThrow();
            assertEquals(spanOf("q1").getSpanId(), own.getParentSpanId());
            assertTrue(server.replica().length() > 0);
        }
    }

    /** A request whose scoring was given up has one span, though the author's code comes back later. */
    @Test
    void hangingModelsHaveOneSpan() throws Exception {
        CountDownLatch over = new CountDownLatch(1);
        CountDownLatch cameBack = new CountDownLatch(1);
        Model hanging = inputs -> {
            while (over.getCount() > 0) {
                Thread.onSpinWait();
            }
            cameBack.countDown();
            return checked(inputs);
        };
        try (ModelServer server = serve(hanging)) {
            ParcelScore score = scored(parcel(new double[] {1}, SAMPLED));
            over.countDown();
            assertTrue(cameBack.await(10, TimeUnit.SECONDS));
            for (Thread thread : Thread.getAllStackTraces().keySet()) {
                if (thread.getName().equals("rendezvous-model") && thread.getState() == Thread.State.RUNNABLE) {
                    thread.join(5000);
                }
            }
            List<SpanData> spans = TELEMETRY.getSpans().stream()
                    .filter(span -> span.getName().equals("score m"))
                    .toList();
            assertEquals(1, spans.size());
            assertEquals(traceparent(spans.get(0)), score.getItems(0).getTraceparent());
            assertEquals("MODEL_FAILED", text(spans.get(0), "error.type"));
            assertTrue(server.replica().length() > 0);
        }
    }
}
