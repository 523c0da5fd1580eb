package io.rendezvous.integration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nats.client.Connection;
import io.nats.client.JetStreamApiException;
import io.nats.client.Message;
import io.nats.client.Subscription;
import io.rendezvous.Frame;
import io.rendezvous.Model;
import io.rendezvous.ModelServer;
import io.rendezvous.internal.Ids;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelItem;
import io.rendezvous.v1.ParcelScore;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.Timeout;

/** A model at a cluster of three servers that keep its stream on all of them, of which one dies. */
@Timeout(180)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ClusterTest {
    private static final Model ECHO =
            inputs -> Frame.builder().fp64("y", inputs.fp64("x").toArray()).build();
    /** Raft elects a new leader within 4 to 9 s; the liveness rule and the pauses add to it. */
    private static final Duration FAILOVER = Duration.ofSeconds(30);

    private NatsCluster nats;
    private Connection router;
    private Subscription scores;

    @BeforeAll
    void start() throws Exception {
        nats = new NatsCluster();
        router = nats.connect();
        long started = System.nanoTime();
        boolean made = false;
        while (!made) {
            try {
                NatsCluster.makeStreams(router, "e");
                made = true;
            } catch (IOException | JetStreamApiException error) {
                assertTrue(System.nanoTime() - started < FAILOVER.toNanos(), "no stream: " + error);
            }
        }
        scores = router.subscribe("rv.*.score.*.r1");
    }

    @AfterAll
    void stop() throws Exception {
        router.close();
        nats.close();
    }

    private ModelServer serve(String name) throws Exception {
        return ModelServer.builder(ECHO)
                .endpoint("e")
                .name(name)
                .nats(nats.urls())
                .build()
                .start();
    }

    /** Puts parcels until one is answered that was put after this call. */
    private void assertAnswers(String model) throws Exception {
        long started = System.nanoTime();
        Parcel parcel = null;
        while (true) {
            assertTrue(System.nanoTime() - started < FAILOVER.toNanos(), "no score within " + FAILOVER);
            if (parcel == null) {
                parcel = put();
            }
            Message message = scores.nextMessage(Duration.ofMillis(500));
            ParcelScore score = message == null ? null : ParcelScore.parseFrom(message.getData());
            if (score != null && score.getModel().equals(model) && isOf(parcel, score)) {
                assertEquals(1.5, Frame.of(score.getOutputs()).fp64("y").get(0));
                return;
            }
        }
    }

    private static boolean isOf(Parcel parcel, ParcelScore score) {
        return parcel != null && score.getParcelId().equals(parcel.getParcelId());
    }

    /** Puts a parcel; null while there is no leader. */
    private Parcel put() throws InterruptedException {
        Parcel parcel = Parcel.newBuilder()
                .setParcelId(Ids.newId())
                .setEndpoint("e")
                .setRouter("r1")
                .setInputs(Frame.builder().fp64("x", 1.5).build().toProto())
                .addItems(ParcelItem.newBuilder()
                        .setRequestId(Ids.newId())
                        .setRows(1)
                        .setBudgetUs(TimeUnit.MINUTES.toMicros(5)))
                .build();
        try {
            router.jetStream().publish("rv.e.input", parcel.toByteArray());
            return parcel;
        } catch (IOException | JetStreamApiException | IllegalStateException error) {
            return null;
        }
    }

    private void bringBack(int node) throws Exception {
        nats.start(node);
        nats.awaitHealthy(node);
    }

    /** The buckets of a cluster are kept on three servers, of which one may die. */
    @Test
    @Order(1) // buckets that are made while a node is dead are kept on one server
    void registersOnThreeServers() throws Exception {
        try (ModelServer server = serve("d")) {
            assertTrue(router.keyValue("rv_replicas").keys().contains("e.d.1." + server.replica()));
            for (String bucket : List.of("KV_rv_replicas", "KV_rv_models")) {
                assertEquals(
                        NatsCluster.NODES,
                        router.jetStreamManagement()
                                .getStreamInfo(bucket)
                                .getConfiguration()
                                .getReplicas());
            }
        }
    }

    /** The node that the model is connected to dies: it goes on at another, with the same replica's name. */
    @Test
    void survivesTheNodeItIsConnectedTo() throws Exception {
        try (ModelServer server = serve("a")) {
            assertAnswers("a");
            int node = nats.nodeServing("model e/a:1 " + server.replica());
            nats.kill(node);
            assertAnswers("a");
            assertTrue(nats.nodeServing("model e/a:1 " + server.replica()) != node);
            bringBack(node);
            assertAnswers("a");
        }
    }

    /** The node that leads the model's consumer dies: reading goes on with the next leader. */
    @Test
    void survivesTheLeaderOfItsConsumer() throws Exception {
        try (ModelServer server = serve("b")) {
            assertAnswers("b");
            String leader = router.jetStreamManagement()
                    .getConsumerInfo("RV_e", "b__1")
                    .getClusterInfo()
                    .getLeader();
            nats.kill(NatsCluster.nodeOf(leader));
            assertAnswers("b");
            bringBack(NatsCluster.nodeOf(leader));
            assertTrue(server.replica().length() > 0);
        }
    }

    /** A model that starts while a node is dead makes its consumer and scores. */
    @Test
    void startsWhileANodeIsDead() throws Exception {
        nats.kill(0);
        try (ModelServer server = serve("c")) {
            assertAnswers("c");
            assertTrue(server.grpcAddress().length() > 0);
        } finally {
            bringBack(0);
        }
    }
}
