package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Options: where values come from, and which are refused. */
class OptionsTest {
    private static final Map<String, String> ENVIRONMENT = Map.of(
            "RENDEZVOUS_ENDPOINT", "credit",
            "RENDEZVOUS_MODEL", "tree",
            "RENDEZVOUS_VERSION", "2.1",
            "RENDEZVOUS_NATS", "nats://127.0.0.1:5222",
            "RENDEZVOUS_GRPC_HOST", "0.0.0.0",
            "RENDEZVOUS_GRPC_PORT", "9001",
            "RENDEZVOUS_ACK_WAIT", "500ms",
            "RENDEZVOUS_SCORING_LIMIT", "1.5m",
            "RENDEZVOUS_ENRICHER", "2");

    /** What is not set comes from the environment. */
    @Test
    void environment() {
        ServeOptions options = ServeOptions.builder(ENVIRONMENT).build();
        assertEquals("credit", options.endpoint());
        assertEquals("tree", options.name());
        assertEquals("2.1", options.version());
        assertEquals("nats://127.0.0.1:5222", options.nats());
        assertEquals("0.0.0.0", options.grpcHost());
        assertEquals(9001, options.grpcPort());
        assertEquals(Duration.ofMillis(500), options.ackWait());
        assertEquals(Duration.ofSeconds(90), options.scoringLimit());
        assertEquals(2, options.enricher());
        assertEquals("rv.credit.raw.2", options.subject());
    }

    /** What is set counts before the environment, and defaults come last. */
    @Test
    void precedence() {
        ServeOptions set =
                ServeOptions.builder(ENVIRONMENT).name("logit").grpcPort(0).build();
        assertEquals("logit", set.name());
        assertEquals(0, set.grpcPort());
        assertEquals(
                "tree",
                ServeOptions.builder(ENVIRONMENT).defaultName("Risk").build().name());
        ServeOptions bare =
                ServeOptions.builder(Map.of()).endpoint("e").defaultName("Risk").build();
        assertEquals("Risk", bare.name());
        assertEquals("1", bare.version());
        assertEquals(ServeOptions.DEFAULT_NATS, bare.nats());
        assertEquals(Duration.ofSeconds(1), bare.ackWait());
        assertEquals(Duration.ofSeconds(60), bare.scoringLimit());
        assertEquals(1_000_000, bare.maxRows());
    }

    /** Addresses of NATS may lack scheme or port, hold credentials, and be several. */
    @ParameterizedTest
    @ValueSource(strings = {"nats://h:4222", "h:4222", "h", "tls://u:p@h:1,nats://[::1]:2, nats://token@h"})
    void natsAddresses(String address) {
        ServeOptions options = ServeOptions.builder(Map.of())
                .endpoint("e")
                .name("m")
                .nats(address)
                .build();
        assertEquals(address, options.nats());
    }

    static Stream<Arguments> refused() {
        return Stream.of(
                row("RENDEZVOUS_ENDPOINT", options -> options.endpoint(null)),
                row("endpoint 'a.b'", options -> options.endpoint("a.b")),
                row("version '1 2'", options -> options.version("1 2")),
                row("the address of NATS is 'http://foo'", options -> options.nats("http://foo")),
                row("the address of NATS is ''", options -> options.nats("")),
                row("the address of NATS is 'nope://foo'", options -> options.nats("nats://u:p@h:1,nope://u:p@foo")),
                row("grpc port is 70000", options -> options.grpcPort(70_000)),
                row(
                        "ack wait is 0.05 s; allowed is 0.1 s to 3600 s",
                        options -> options.ackWait(Duration.ofMillis(50))),
                row("scoring limit is 0 s", options -> options.scoringLimit(Duration.ZERO)),
                row("credit is 0", options -> options.credit(0)),
                row("max joined rows is 0", options -> options.maxJoinedRows(0)),
                row("max message bytes is 5", options -> options.maxMessageBytes(5)),
                row("max rows is 0", options -> options.maxRows(0)),
                row("neither", options -> options.grpc(false).postbox(false)));
    }

    private static Arguments row(String message, Consumer<ServeOptions.Builder> change) {
        return Arguments.of(message, change);
    }

    /** A value that is not allowed is refused with what it is and what is allowed. */
    @ParameterizedTest(name = "{0}")
    @MethodSource
    void refused(String message, Consumer<ServeOptions.Builder> change) {
        ServeOptions.Builder options =
                ServeOptions.builder(Map.of()).endpoint("e").name("m");
        change.accept(options);
        InvalidRequestException error = assertThrows(InvalidRequestException.class, options::build);
        assertTrue(error.getMessage().contains(message), error.getMessage());
    }

    /** A variable that is not what its option needs is refused by its name. */
    @Test
    void refusesVariables() {
        for (String variable : new String[] {
            "RENDEZVOUS_ACK_WAIT", "RENDEZVOUS_SCORING_LIMIT", "RENDEZVOUS_GRPC_PORT", "RENDEZVOUS_ENRICHER"
        }) {
            ServeOptions.Builder options =
                    ServeOptions.builder(Map.of(variable, "soon")).endpoint("e").name("m");
            InvalidRequestException error = assertThrows(InvalidRequestException.class, options::build);
            assertTrue(error.getMessage().contains(variable), error.getMessage());
        }
    }

    /** A client's options are checked, too. */
    @Test
    void clientOptions() {
        assertEquals(
                Duration.ofSeconds(3),
                ClientOptions.DEFAULT.withTimeout(Duration.ofSeconds(3)).timeout());
        assertThrows(InvalidRequestException.class, () -> ClientOptions.DEFAULT.withTimeout(Duration.ZERO));
        assertThrows(InvalidRequestException.class, () -> ClientOptions.DEFAULT.withMaxStreamed(0));
        assertThrows(InvalidRequestException.class, () -> ScoreOptions.NONE.withRequestId("a b"));
        assertThrows(InvalidRequestException.class, () -> ScoreOptions.NONE.withTimeout(Duration.ofSeconds(-1)));
    }
}
