package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The health command of containers. */
@Timeout(30)
class HealthTest {
    private record Said(int status, String text) {}

    private static Said run(Map<String, String> environment, String... arguments) {
        PrintStream real = System.err;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setErr(new PrintStream(said, true, StandardCharsets.UTF_8));
        try {
            int status = Health.run(arguments, environment);
            return new Said(status, said.toString(StandardCharsets.UTF_8).strip());
        } finally {
            System.setErr(real);
        }
    }

    private static Said run(String... arguments) {
        return run(Map.of(), arguments);
    }

    /** A served model is SERVING, with or without its service named, and by its port alone. */
    @Test
    void servingIsZero() throws Exception {
        try (ModelServer server = ModelServer.builder(inputs -> inputs)
                .endpoint("e")
                .name("m")
                .options(options -> options.postbox(false))
                .build()
                .start()) {
            String address = server.grpcAddress();
            Map<String, String> container = Map.of("RENDEZVOUS_GRPC_PORT", address.split(":")[1]);
            assertEquals(new Said(0, ""), run(address, "--timeout", "5s"));
            assertEquals(new Said(0, ""), run("--service", "rendezvous.v1.Score", address));
            assertEquals(new Said(0, ""), run(container));
            Said other = run(address, "--service", "other");
            assertEquals(1, other.status);
            assertEquals("no service 'other' at " + address, other.text);
        }
    }

    /** Nobody there, or somebody who says nothing: 1, and why in one line. */
    @Test
    void notServingIsOne() throws Exception {
        Said nobody = run("127.0.0.1:1");
        assertEquals(1, nobody.status);
        assertTrue(nobody.text.startsWith("no connection to 127.0.0.1:1: "), nobody.text);
        try (ServerSocket mute = new ServerSocket(0)) {
            String address = "127.0.0.1:" + mute.getLocalPort();
            assertEquals(
                    new Said(1, "no answer from " + address + " within 0.3 s"), run(address, "--timeout", "300ms"));
        }
    }

    /** What is not understood: 2, and how it is called. */
    @Test
    void misuseIsTwo() {
        for (String[] arguments : new String[][] {
            {"nowhere"}, {"--timeout"}, {"a:1", "--timeout", "soon"}, {"a:1", "b:2"}, {"a:1", "--loud"}, {}
        }) {
            Said said = run(arguments);
            assertEquals(2, said.status, said.text);
            assertTrue(said.text.contains("usage: "), said.text);
        }
    }
}
