package io.rendezvous.integration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.nats.client.Connection;
import io.nats.client.Subscription;
import io.rendezvous.Frame;
import io.rendezvous.Model;
import io.rendezvous.ModelServer;
import io.rendezvous.internal.Ids;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelItem;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A connection to NATS that cannot be had, or is lost as the credentials do not hold any more. */
@Timeout(60)
class LostConnectionTest {
    private static final Model ECHO = inputs -> inputs;

    /** A model program that is told everything by its environment. */
    static final class Program {
        private Program() {}

        public static void main(String[] arguments) {
            ModelServer.builder(ECHO).run();
        }
    }

    /** Health turns to NOT_SERVING, so that nobody counts on a replica that does not read. */
    @Test
    void healthSaysSo() throws Exception {
        NatsServer nats = new NatsServer("old");
        nats.connect("e").close();
        try (ModelServer server = ModelServer.builder(ECHO)
                .endpoint("e")
                .name("m")
                .nats(nats.url())
                .build()
                .start()) {
            ManagedChannel channel = NettyChannelBuilder.forTarget(
                            server.grpcAddress(), InsecureChannelCredentials.create())
                    .build();
            HealthGrpc.HealthBlockingStub health = HealthGrpc.newBlockingStub(channel);
            HealthCheckRequest asked = HealthCheckRequest.getDefaultInstance();
            assertEquals(ServingStatus.SERVING, health.check(asked).getStatus());
            nats.kill();
            nats.start("new");
            long started = System.nanoTime();
            while (health.check(asked).getStatus() == ServingStatus.SERVING) {
                assertTrue(System.nanoTime() - started < TimeUnit.SECONDS.toNanos(15), "still SERVING");
                Thread.sleep(20);
            }
            channel.shutdownNow();
        } finally {
            nats.close();
        }
    }

    private static ProcessBuilder program(String nats) {
        ProcessBuilder program = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Program.class.getName());
        program.environment().put("RENDEZVOUS_ENDPOINT", "e");
        program.environment().put("RENDEZVOUS_MODEL", "m");
        program.environment().put("RENDEZVOUS_NATS", nats);
        return program;
    }

    /** A program that waits for NATS, or is refused its address, does not say the password, whatever logs its lines. */
    @ParameterizedTest
    @CsvSource({
        "nats://user:hunter2@127.0.0.1:1, hunter2, waiting for NATS at nats://127.0.0.1:1 (",
        "'nats://127.0.0.1:1,nats://user:hunter2@127.0.0.1:2', hunter2, nats://127.0.0.1:2 (",
        "nats://user:p@ss@127.0.0.1:1, p@ss, nats://127.0.0.1:1",
        "nats://user:p/w@127.0.0.1:1, p/w, nats://127.0.0.1:1"
    })
    void saysNoPasswords(String nats, String password, String expected) throws Exception {
        Process process = program(nats).redirectErrorStream(true).start();
        List<String> said = new ArrayList<>();
        try (BufferedReader output = process.inputReader()) {
            for (String line = output.readLine(); line != null; line = output.readLine()) {
                said.add(line);
                if (line.contains("waiting for NATS")) {
                    break;
                }
            }
        } finally {
            process.destroyForcibly();
        }
        String all = String.join("\n", said);
        assertTrue(all.contains(expected), all);
        assertFalse(all.contains(password) || all.contains("user:"), all);
    }

    /** The program goes on: it says why it does not serve, and reads again once its password holds again. */
    @Test
    void programGoesOn() throws Exception {
        NatsServer nats = new NatsServer("old");
        nats.connect("e").close();
        Process process = program(nats.url()).start();
        try (BufferedReader output = process.inputReader();
                BufferedReader said = process.errorReader()) {
            String ready = output.readLine();
            assertTrue(ready != null && ready.startsWith("ready: "), "said " + ready);
            nats.kill();
            nats.start("new");
            awaitLine(said, "refuses this program's user and password");
            nats.kill();
            nats.start("old");
            Connection router = nats.connect();
            Subscription scores = router.subscribe("rv.e.score.m.r1");
            router.jetStream().publish("rv.e.input", parcel().toByteArray());
            assertNotNull(scores.nextMessage(Duration.ofSeconds(20)), "no score");
            router.close();
            assertTrue(process.isAlive());
        } finally {
            process.destroyForcibly();
            nats.close();
        }
    }

    private static void awaitLine(BufferedReader said, String part) throws IOException {
        for (String line = said.readLine(); line != null; line = said.readLine()) {
            if (line.contains(part)) {
                return;
            }
        }
        throw new AssertionError("the program ended without saying '" + part + "'");
    }

    private static Parcel parcel() {
        return Parcel.newBuilder()
                .setParcelId(Ids.newId())
                .setEndpoint("e")
                .setRouter("r1")
                .setInputs(Frame.builder().fp64("x", 1).build().toProto())
                .addItems(ParcelItem.newBuilder()
                        .setRequestId(Ids.newId())
                        .setRows(1)
                        .setBudgetUs(30_000_000))
                .build();
    }
}
