package io.rendezvous.integration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nats.client.Connection;
import io.nats.client.Message;
import io.nats.client.Subscription;
import io.rendezvous.Certificates;
import io.rendezvous.Credentials;
import io.rendezvous.Frame;
import io.rendezvous.Health;
import io.rendezvous.Model;
import io.rendezvous.ModelServer;
import io.rendezvous.UnavailableException;
import io.rendezvous.internal.Ids;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelItem;
import io.rendezvous.v1.ParcelScore;
import java.io.BufferedReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A model with a key and a certificate, at a server that lets it do nothing but what a model must. */
@Timeout(60)
class LockedModelTest {
    private static final Duration PATIENCE = Duration.ofSeconds(20);
    private static final Duration ACK_WAIT = Duration.ofSeconds(1);
    private static final Model ECHO =
            inputs -> Frame.builder().fp64("y", inputs.fp64("x").toArray()).build();

    private static Certificates authority;
    private static Certificates.Pair own;
    private static Certificates.Pair servers;
    private LockedNats nats;
    private Connection router;
    private Subscription scores;

    /** A model program that is told everything by its environment. */
    static final class Program {
        private Program() {}

        public static void main(String[] arguments) {
            ModelServer.builder(ECHO).run();
        }
    }

    @BeforeAll
    static void makeCertificates() throws Exception {
        authority = new Certificates();
        own = authority.issue("model", "dns:model");
        servers = authority.issue("nats", "ip:127.0.0.1");
    }

    @BeforeEach
    void start() throws Exception {
        nats = new LockedNats(authority, servers);
        router = nats.router();
        LockedNats.furnish(router);
        scores = router.subscribe("rv.e.score.m.r1");
        router.flush(PATIENCE);
    }

    @AfterEach
    void stop() throws Exception {
        router.close();
        nats.close();
    }

    private ModelServer server(Model model, Duration ackWait) {
        return server(model, ackWait, authority.ca(), own);
    }

    private ModelServer server(Model model, Duration ackWait, Path ca, Certificates.Pair pair) {
        Credentials credentials =
                Credentials.UNSET.withKey(LockedNats.KEY).withCa(ca).withCertificate(pair.certificate(), pair.key());
        return ModelServer.builder(model)
                .endpoint("e")
                .name("m")
                .nats("nats://" + nats.address())
                .credentials(credentials)
                .options(options -> options.ackWait(ackWait))
                .build();
    }

    private static CompletableFuture<Void> starting(ModelServer server) {
        return CompletableFuture.runAsync(() -> {
            try {
                server.start();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        });
    }

    private void put() throws Exception {
        Parcel parcel = Parcel.newBuilder()
                .setParcelId(Ids.newId())
                .setEndpoint("e")
                .setRouter("r1")
                .setInputs(Frame.builder().fp64("x", 1).build().toProto())
                .addItems(ParcelItem.newBuilder()
                        .setRequestId(Ids.newId())
                        .setRows(1)
                        .setBudgetUs(30_000_000))
                .build();
        router.jetStream().publish("rv.e.input", parcel.toByteArray());
    }

    private ParcelScore next() throws Exception {
        Message message = scores.nextMessage(PATIENCE);
        assertNotNull(message, "no score within " + PATIENCE);
        return ParcelScore.parseFrom(message.getData());
    }

    private void awaitAllAcknowledged() throws Exception {
        long started = System.nanoTime();
        while (router.jetStreamManagement().getConsumerInfo("RV_e", "m__1").getNumAckPending() > 0) {
            assertTrue(System.nanoTime() - started < PATIENCE.toNanos(), "parcels stay unacknowledged");
        }
    }

    private void awaitHealth(ModelServer server, boolean serves) throws Exception {
        long started = System.nanoTime();
        while (isServing(server) != serves) {
            assertTrue(System.nanoTime() - started < PATIENCE.toNanos(), "health does not change");
            Thread.sleep(20);
        }
    }

    private static boolean isServing(ModelServer server) {
        try {
            Health.check(server.grpcAddress(), "", Duration.ofSeconds(5));
            return true;
        } catch (UnavailableException error) {
            return false;
        }
    }

    /** It registers, scores, acknowledges and takes its leave without trying anything that is refused. */
    @Test
    void keepsToItsPermissions() throws Exception {
        LockedNats.addConsumer(router, ACK_WAIT);
        try (ModelServer server = server(ECHO, ACK_WAIT).start()) {
            for (int count = 0; count < 20; count++) {
                put();
                assertEquals(1, next().getDelivery());
            }
            awaitAllAcknowledged();
            assertNotNull(router.keyValue("rv_models").get("e.m.1"));
            assertNotNull(router.keyValue("rv_replicas").get("e.m.1." + server.replica()));
        }
        assertFalse(nats.log().contains("Violation"), nats.log());
    }

    /** It waits for the consumer that a router makes, registered meanwhile so that the router knows of it. */
    @Test
    void waitsForItsConsumer() throws Exception {
        try (ModelServer server = server(ECHO, ACK_WAIT)) {
            CompletableFuture<Void> started = starting(server);
            long began = System.nanoTime();
            while (router.keyValue("rv_models").get("e.m.1") == null) {
                assertTrue(System.nanoTime() - began < PATIENCE.toNanos(), "not registered");
            }
            assertFalse(started.isDone());
            LockedNats.addConsumer(router, ACK_WAIT);
            started.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
            put();
            next();
        }
        assertFalse(nats.log().contains("Violation"), nats.log());
    }

    /** It keeps to the ack_wait that the consumer has: what it scores for longer does not go to another replica. */
    @Test
    void keepsToTheConsumersAckWait() throws Exception {
        LockedNats.addConsumer(router, Duration.ofMillis(300));
        CountDownLatch release = new CountDownLatch(1);
        Model slow = inputs -> {
            release.await();
            return ECHO.score(inputs);
        };
        try (ModelServer server = server(slow, Duration.ofSeconds(30)).start()) {
            assertFalse(server.replica().isEmpty());
            put();
            assertTrue(scores.nextMessage(Duration.ofSeconds(1)) == null);
            release.countDown();
            assertEquals(1, next().getDelivery());
            awaitAllAcknowledged();
            assertEquals(
                    Duration.ofMillis(300),
                    router.jetStreamManagement()
                            .getConsumerInfo("RV_e", "m__1")
                            .getConsumerConfiguration()
                            .getAckWait());
        }
        assertFalse(nats.log().contains("Violation"), nats.log());
    }

    /** Where its key is taken away it says NOT_SERVING, tries again, and serves once the key is there again. */
    @Test
    void goesOnWhenItsKeyComesBack() throws Exception {
        LockedNats.addConsumer(router, ACK_WAIT);
        try (ModelServer server = server(ECHO, ACK_WAIT).start()) {
            awaitHealth(server, true);
            nats.allowModel(false);
            awaitHealth(server, false);
            nats.allowModel(true);
            awaitHealth(server, true);
            put();
            next();
            awaitAllAcknowledged();
        }
    }

    /** A key that is refused from the start is NOT_SERVING, too, and closing does not wait for it. */
    @Test
    void saysNotServingFromTheStart() throws Exception {
        nats.allowModel(false);
        LockedNats.addConsumer(router, ACK_WAIT);
        ModelServer server = server(ECHO, ACK_WAIT);
        CompletableFuture<Void> started = starting(server);
        nats.awaitLog("authentication error");
        awaitHealth(server, false);
        assertFalse(started.isDone());
        server.close();
        assertTrue(started.handle((nothing, error) -> error != null).get(5, TimeUnit.SECONDS));
    }

    /** After a reconnection the files count as they are then: authority and certificate may have been renewed. */
    @Test
    void readsItsFilesAgain(@TempDir Path folder) throws Exception {
        LockedNats.addConsumer(router, ACK_WAIT);
        Path believed = Files.copy(authority.ca(), folder.resolve("ca.pem"));
        Certificates.Pair shown = new Certificates.Pair(folder.resolve("own.pem"), folder.resolve("own.key"));
        shown.replaceBy(own);
        try (ModelServer server = server(ECHO, ACK_WAIT, believed, shown).start()) {
            nats.kill();
            router.close();
            Certificates renewed = new Certificates();
            nats.use(renewed, renewed.issue("nats", "ip:127.0.0.1"));
            shown.replaceBy(renewed.issue("model", "dns:model"));
            Files.copy(renewed.ca(), believed, StandardCopyOption.REPLACE_EXISTING);
            nats.start();
            router = nats.router();
            scores = router.subscribe("rv.e.score.m.r1");
            router.flush(PATIENCE);
            put();
            next();
            assertFalse(server.replica().isEmpty());
        }
    }

    private String saidBefore(String nats, Certificates believed, String part) throws Exception {
        ProcessBuilder program = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Program.class.getName());
        program.environment().put("RENDEZVOUS_ENDPOINT", "e");
        program.environment().put("RENDEZVOUS_MODEL", "m");
        program.environment().put("RENDEZVOUS_NATS", nats);
        program.environment().put("RENDEZVOUS_KEY", LockedNats.KEY);
        program.environment().put("RENDEZVOUS_CA", believed.ca().toString());
        program.environment().put("RENDEZVOUS_CERT", own.certificate().toString());
        program.environment().put("RENDEZVOUS_CERT_KEY", own.key().toString());
        Process process = program.redirectErrorStream(true).start();
        StringBuilder all = new StringBuilder();
        try (BufferedReader output = process.inputReader()) {
            for (String line = output.readLine(); line != null; line = output.readLine()) {
                all.append(line).append('\n');
                if (line.contains(part)) {
                    break;
                }
            }
        } finally {
            process.destroyForcibly();
        }
        return all.toString();
    }

    /** A program takes key and certificates from its environment, and serves. */
    @Test
    void programServes() throws Exception {
        LockedNats.addConsumer(router, ACK_WAIT);
        String said = saidBefore("tls://" + nats.address(), authority, "ready: ");
        assertTrue(said.contains("ready: model m:1"), said);
    }

    /** What a program says of a refused key, of a wrong authority and of a missing consumer is clear, and no secret. */
    @Test
    void saysWhyItWaits() throws Exception {
        String[] said = new String[3];
        String address = "tls://" + nats.address();
        said[0] = saidBefore(address, authority, "a router makes the consumer");
        assertTrue(said[0].contains("waiting for consumer m__1"), said[0]);
        said[1] = saidBefore(address, new Certificates(), "SSLHandshakeException");
        assertTrue(said[1].contains("SSLHandshakeException"), said[1]);
        nats.allowModel(false);
        said[2] = saidBefore(address, authority, "refuses this program's key");
        assertTrue(said[2].contains("rv_" + LockedNats.ID + "_***"), said[2]);
        assertFalse(String.join("", said).contains(LockedNats.SECRET));
    }

    /** A server whose certificate is of the authority, but names another host, gets no key. */
    @Test
    void checksTheServersName() throws Exception {
        LockedNats other = new LockedNats(authority, authority.issue("elsewhere", "dns:elsewhere.example"));
        try {
            String said = saidBefore("tls://" + other.address(), authority, "SSLHandshakeException");
            assertTrue(said.contains("SSLHandshakeException"), said);
            assertFalse(other.log().contains(LockedNats.ID), other.log());
        } finally {
            other.close();
        }
    }
}
