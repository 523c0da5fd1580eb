package io.rendezvous.integration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.util.JsonFormat;
import io.nats.client.Connection;
import io.nats.client.KeyValue;
import io.nats.client.Message;
import io.nats.client.Subscription;
import io.nats.client.api.ConsumerInfo;
import io.nats.client.impl.Headers;
import io.rendezvous.ErrorCode;
import io.rendezvous.Frame;
import io.rendezvous.Model;
import io.rendezvous.ModelServer;
import io.rendezvous.internal.Ids;
import io.rendezvous.v1.ModelInfo;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelItem;
import io.rendezvous.v1.ParcelScore;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A served model at a real postbox. */
@Timeout(40)
class ServedModelTest {
    private static final Duration PATIENCE = Duration.ofSeconds(10);

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

    private static final Model ECHO =
            inputs -> Frame.builder().fp64("y", inputs.fp64("x").toArray()).build();

    private ModelServer serve(Model model) throws Exception {
        return ModelServer.builder(model)
                .endpoint("e")
                .name("m")
                .nats(nats.url())
                .options(options -> options.ackWait(Duration.ofMillis(500)).scoringLimit(Duration.ofSeconds(1)))
                .build()
                .start();
    }

    private static Parcel parcel(double... values) {
        Parcel.Builder parcel = Parcel.newBuilder()
                .setParcelId(Ids.newId())
                .setEndpoint("e")
                .setRouter("r1")
                .setInputs(Frame.builder().fp64("x", values).build().toProto());
        for (int row = 0; row < values.length; row++) {
            parcel.addItems(
                    ParcelItem.newBuilder().setRequestId(Ids.newId()).setRows(1).setBudgetUs(30_000_000));
        }
        return parcel.build();
    }

    private void put(Parcel parcel) throws Exception {
        Headers headers = new Headers().add("Nats-Msg-Id", parcel.getParcelId());
        router.jetStream().publish("rv.e.input", headers, parcel.toByteArray());
    }

    private ParcelScore next() throws Exception {
        Message message = scores.nextMessage(PATIENCE);
        assertNotNull(message, "no score within " + PATIENCE);
        return ParcelScore.parseFrom(message.getData());
    }

    private ConsumerInfo consumer() throws Exception {
        return router.jetStreamManagement().getConsumerInfo("RV_e", "m__1");
    }

    private void awaitNothingPending() throws Exception {
        long started = System.nanoTime();
        while (consumer().getNumAckPending() > 0) {
            assertTrue(System.nanoTime() - started < PATIENCE.toNanos(), "parcels stay unacknowledged");
        }
    }

    /** An enricher reads the parcels of its stage, and its scores say which that is; a model's consumer is changed. */
    @Test
    void enrichesParcels() throws Exception {
        serve(ECHO).close();
        try (ModelServer server = ModelServer.builder(ECHO)
                .endpoint("e")
                .name("m")
                .nats(nats.url())
                .options(options -> options.enricher(2).ackWait(Duration.ofMillis(500)))
                .build()
                .start()) {
            put(parcel(7));
            Parcel raw = parcel(1, 2);
            router.jetStream().publish("rv.e.raw.2", raw.toByteArray());
            ParcelScore score = next();
            assertEquals(raw.getParcelId(), score.getParcelId(), "what is on input is not the enricher's");
            assertEquals(2, score.getStage());
            assertEquals(2, Frame.of(score.getOutputs()).fp64("y").get(1));
            assertEquals("rv.e.raw.2", consumer().getConsumerConfiguration().getFilterSubject());
            assertEquals("m", server.options().name());
            awaitNothingPending();
        }
    }

    /** Parcels are scored, answered and acknowledged; expired requests are told from live ones. */
    @Test
    void scoresParcels() throws Exception {
        try (ModelServer server = serve(ECHO)) {
            Parcel parcel = parcel(1, 2, 3);
            Parcel half = parcel.toBuilder()
                    .setItems(1, parcel.getItems(1).toBuilder().setBudgetUs(0))
                    .build();
            put(half);
            ParcelScore score = next();
            assertEquals(parcel.getParcelId(), score.getParcelId());
            assertEquals(server.replica(), score.getReplica());
            assertEquals(1, score.getDelivery());
            assertEquals(1, score.getParcelSequence());
            assertEquals(
                    ErrorCode.EXPIRED.number(), score.getItems(1).getError().getCodeValue());
            assertEquals(3, Frame.of(score.getOutputs()).fp64("y").get(1));
            awaitNothingPending();
            assertEquals(5, consumer().getConsumerConfiguration().getMaxDeliver());
        }
    }

    /** What is no parcel is taken off the postbox, and the next one is scored. */
    @Test
    void takesGarbageOff() throws Exception {
        try (ModelServer server = serve(ECHO)) {
            assertFalse(server.grpcAddress().isEmpty());
            router.jetStream().publish("rv.e.input", "garbage".getBytes(StandardCharsets.UTF_8));
            router.jetStream().publish("rv.e.input", new byte[0]);
            put(parcel(1));
            assertEquals(3, next().getParcelSequence());
            awaitNothingPending();
        }
    }

    /** Many parcels of many sizes are each answered once, with their own rows. */
    @Test
    void scoresManyParcels() throws Exception {
        try (ModelServer server = serve(ECHO)) {
            Map<String, Double> expected = new HashMap<>();
            for (int number = 0; number < 300; number++) {
                Parcel parcel = parcel(number, number + 0.5);
                expected.put(parcel.getParcelId(), (double) number);
                router.publish("rv.e.input", parcel.toByteArray());
            }
            while (!expected.isEmpty()) {
                ParcelScore score = next();
                assertEquals(server.replica(), score.getReplica());
                double first = Frame.of(score.getOutputs()).fp64("y").get(0);
                assertEquals(expected.remove(score.getParcelId()), first);
            }
        }
    }

    /** Long scoring is defended: the parcel is not delivered again, nor what waits behind it. */
    @Test
    void defendsLongScoring() throws Exception {
        Model slow = inputs -> {
            Thread.sleep(800);
            return ECHO.score(inputs);
        };
        try (ModelServer first = serve(slow);
                ModelServer second = serve(slow)) {
            assertFalse(first.replica().equals(second.replica()));
            Set<String> ids = new HashSet<>();
            for (int number = 0; number < 6; number++) {
                Parcel parcel = parcel(number);
                ids.add(parcel.getParcelId());
                put(parcel);
            }
            Set<String> answered = new HashSet<>();
            while (answered.size() < ids.size()) {
                ParcelScore score = next();
                assertEquals(1, score.getDelivery());
                assertTrue(answered.add(score.getParcelId()), "answered twice");
            }
            assertEquals(ids, answered);
        }
    }

    /** Code that never returns is left behind and answered; parcels that waited with it are scored. */
    @Test
    void outlivesHangingModels() throws Exception {
        CountDownLatch over = new CountDownLatch(1);
        Model hanging = inputs -> {
            for (double x : inputs.fp64("x").toArray()) {
                while (x < 0 && over.getCount() > 0) {
                    Thread.onSpinWait();
                }
            }
            return ECHO.score(inputs);
        };
        try (ModelServer server = serve(hanging)) {
            assertNotNull(server.replica());
            Parcel bad = parcel(-1);
            put(bad);
            put(parcel(1));
            put(parcel(2));
            Map<String, ParcelScore> answers = new HashMap<>();
            while (answers.size() < 3) {
                ParcelScore score = next();
                answers.put(score.getParcelId(), score);
            }
            assertEquals(
                    "the model took longer than 1 s (its scoring limit)",
                    answers.get(bad.getParcelId()).getItems(0).getError().getMessage());
            assertEquals(
                    2, answers.values().stream().filter(ParcelScore::hasOutputs).count());
        } finally {
            over.countDown();
        }
    }

    /** After the server was killed and is back, parcels are scored again within two seconds. */
    @Test
    void survivesRestartsOfTheServer() throws Exception {
        try (ModelServer server = serve(ECHO)) {
            put(parcel(1));
            next();
            for (int restart = 0; restart < 3; restart++) {
                nats.kill();
                nats.start();
                long started = System.nanoTime();
                router.close();
                router = nats.connect();
                scores = router.subscribe("rv.*.score.*.r1");
                Parcel parcel = parcel(restart);
                put(parcel);
                while (!next().getParcelId().equals(parcel.getParcelId())) {
                    continue; // a score of before that had no acknowledgement
                }
                long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started);
                assertTrue(tookMs < 2000, "again after " + tookMs + " ms by " + server.replica());
            }
        }
    }

    /** A consumer that somebody deletes is made anew. */
    @Test
    void makesItsConsumerAnew() throws Exception {
        try (ModelServer server = serve(ECHO)) {
            assertNotNull(server.replica());
            router.jetStreamManagement().deleteConsumer("RV_e", "m__1");
            long started = System.nanoTime();
            ParcelScore score = null;
            while (score == null) {
                assertTrue(System.nanoTime() - started < PATIENCE.toNanos());
                put(parcel(1));
                Message message = scores.nextMessage(Duration.ofMillis(200));
                score = message == null ? null : ParcelScore.parseFrom(message.getData());
            }
            assertTrue(score.hasOutputs());
        }
    }

    /** A drain finishes what was begun, hands the rest back at once, and removes the replica's entry. */
    @Test
    void drains() throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        AtomicInteger tables = new AtomicInteger();
        Model slow = inputs -> {
            tables.incrementAndGet();
            begun.countDown();
            Thread.sleep(400);
            return ECHO.score(inputs);
        };
        ModelServer first = serve(slow);
        List<String> ids = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            Parcel parcel = parcel(number);
            ids.add(parcel.getParcelId());
            put(parcel);
            assertTrue(begun.await(10, TimeUnit.SECONDS));
        }
        first.close();
        ParcelScore finished = next();
        assertEquals(first.replica(), finished.getReplica());
        KeyValue replicas = router.keyValue("rv_replicas");
        assertEquals(List.of(), replicas.keys());
        try (ModelServer second = serve(ECHO)) {
            Set<String> answered = new HashSet<>(Set.of(finished.getParcelId()));
            while (answered.size() < 3) {
                ParcelScore score = next();
                assertEquals(second.replica(), score.getReplica());
                answered.add(score.getParcelId());
            }
            assertEquals(Set.copyOf(ids), answered);
        }
    }

    /** A model that never comes back does not keep its process from ending. */
    @Test
    void endsBesideHangingModels() throws Exception {
        CountDownLatch over = new CountDownLatch(1);
        CountDownLatch begun = new CountDownLatch(1);
        Model hanging = inputs -> {
            begun.countDown();
            while (over.getCount() > 0) {
                Thread.onSpinWait();
            }
            return ECHO.score(inputs);
        };
        ModelServer server = ModelServer.builder(hanging)
                .endpoint("e")
                .name("m")
                .nats(nats.url())
                .build()
                .start();
        put(parcel(1));
        assertTrue(begun.await(10, TimeUnit.SECONDS));
        long started = System.nanoTime();
        server.close();
        long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started);
        over.countDown();
        assertTrue(tookMs < 9000, "closed after " + tookMs + " ms");
        for (Thread thread : Thread.getAllStackTraces().keySet()) {
            if (!thread.isDaemon() && thread.getName().contains(server.replica())) {
                thread.join(2000);
                assertFalse(thread.isAlive(), "lives on: " + thread.getName());
            }
        }
    }

    /** The model and its replica are registered, and what the replica has done is told. */
    @Test
    void registers() throws Exception {
        try (ModelServer server = serve(ECHO)) {
            ModelInfo.Builder info = ModelInfo.newBuilder();
            byte[] registered = router.keyValue("rv_models").get("e.m.1").getValue();
            JsonFormat.parser().merge(new String(registered, StandardCharsets.UTF_8), info);
            assertEquals("java", info.getLanguage());
            put(parcel(1, 2));
            next();
            JsonObject status = new JsonObject();
            long started = System.nanoTime();
            while (!status.has("scored_rows") || status.get("scored_rows").getAsLong() == 0) {
                assertTrue(System.nanoTime() - started < PATIENCE.toNanos(), "status is not refreshed: " + status);
                byte[] value = router.keyValue("rv_replicas")
                        .get("e.m.1." + server.replica())
                        .getValue();
                status = JsonParser.parseString(new String(value, StandardCharsets.UTF_8))
                        .getAsJsonObject();
            }
            assertEquals(2, status.get("scored_items").getAsInt());
            assertEquals(server.grpcAddress(), status.get("grpc").getAsString());
            Set<String> expected = Set.of(
                    "replica",
                    "grpc",
                    "pid",
                    "started_unix_us",
                    "model",
                    "version",
                    "endpoint",
                    "scored_rows",
                    "scored_items",
                    "failed_items",
                    "expired_items",
                    "parcels",
                    "p50_ms",
                    "p99_ms");
            assertEquals(expected, status.keySet());
        }
    }

    /** A model that is started before its endpoint exists waits for it. */
    @Test
    void waitsForStreams() throws Exception {
        ModelServer early = ModelServer.builder(ECHO)
                .endpoint("later")
                .name("m")
                .nats(nats.url())
                .build();
        Thread starting = new Thread(() -> {
            try {
                early.start();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        });
        starting.start();
        starting.join(500);
        assertTrue(starting.isAlive(), "ready without its streams");
        nats.connect("later").close();
        starting.join(PATIENCE.toMillis());
        assertFalse(starting.isAlive());
        early.close();
    }
}
