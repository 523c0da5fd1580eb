package io.rendezvous.integration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.rendezvous.Model;
import io.rendezvous.ModelServer;
import java.io.BufferedReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A connection to NATS that cannot be had, or is closed for good as the credentials do not hold any more. */
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

    /** The program ends with status 1, so that whoever supervises it starts it again. */
    @Test
    void programEnds() throws Exception {
        NatsServer nats = new NatsServer("old");
        nats.connect("e").close();
        Process process = program(nats.url())
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        try (BufferedReader output = process.inputReader()) {
            String ready = output.readLine();
            assertTrue(ready != null && ready.startsWith("ready: "), "said " + ready);
            nats.kill();
            nats.start("new");
            assertTrue(process.waitFor(20, TimeUnit.SECONDS), "the program lives on");
            assertEquals(1, process.exitValue());
        } finally {
            process.destroyForcibly();
            nats.close();
        }
    }
}
