package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import io.rendezvous.internal.GrpcErrors;
import io.rendezvous.v1.ScoreGrpc;
import io.rendezvous.v1.ScoreReply;
import io.rendezvous.v1.ScoreRequest;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.NullSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Clients before a server that fails as told. */
@Timeout(20)
class ClientTest {
    private final Queue<ErrorCode> failures = new ConcurrentLinkedQueue<>();
    private final Queue<ScoreRequest> seen = new ConcurrentLinkedQueue<>();
    private volatile RetryAfter retryAfter = new RetryAfter("", false);
    private Server server;

    /** When the server says it may be asked again; empty: it does not say. */
    private record RetryAfter(String milliseconds, boolean byMetadata) {
        StatusRuntimeException in(RendezvousException error) {
            if (milliseconds.isEmpty()) {
                return GrpcErrors.toStatus(error);
            }
            if (!byMetadata) {
                Map<String, String> attributes = Map.of("retry_after_ms", milliseconds);
                return GrpcErrors.toStatus(RendezvousException.of(error.code(), error.getMessage(), attributes));
            }
            StatusRuntimeException status = GrpcErrors.toStatus(error);
            status.getTrailers().put(Metadata.Key.of("retry-after-ms", Metadata.ASCII_STRING_MARSHALLER), milliseconds);
            return status;
        }
    }

    private final ScoreGrpc.ScoreImplBase service = new ScoreGrpc.ScoreImplBase() {
        @Override
        public void score(ScoreRequest request, StreamObserver<ScoreReply> observer) {
            seen.add(request);
            ErrorCode failure = failures.poll();
            if (failure != null) {
                observer.onError(retryAfter.in(RendezvousException.of(failure, "told so", Map.of("n", 1))));
                return;
            }
            observer.onNext(ScoreReply.newBuilder()
                    .setRequestId(request.getRequestId())
                    .setOutputs(request.getInputs())
                    .build());
            observer.onCompleted();
        }
    };

    private String start(int port) throws IOException {
        server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port))
                .addService(service)
                .build()
                .start();
        return "127.0.0.1:" + server.getPort();
    }

    @AfterEach
    void stop() {
        if (server != null) {
            server.shutdownNow();
        }
    }

    private static Frame x() {
        return Frame.builder().fp64("x", 1).build();
    }

    /** A request whose error is retryable is sent again with the same id, until it is answered. */
    @Test
    void repeatsWithTheSameId() throws IOException {
        failures.addAll(List.of(ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED, ErrorCode.UNAVAILABLE));
        try (Client client = new Client(start(0), "e")) {
            assertEquals(1, client.score(x()).frame().rows());
        }
        assertEquals(4, seen.size());
        assertEquals(1, seen.stream().map(ScoreRequest::getRequestId).distinct().count());
    }

    /** Any other error is not repeated, and comes with its class, message and attributes. */
    @Test
    void doesNotRepeatOthers() throws IOException {
        try (Client client = new Client(start(0), "e")) {
            for (ErrorCode code : ErrorCode.values()) {
                if (code.retryable() && code != ErrorCode.NO_ANSWER) {
                    continue;
                }
                seen.clear();
                failures.add(code);
                RendezvousException error = assertThrows(RendezvousException.class, () -> client.score(x()));
                assertEquals(code, error.code());
                assertEquals("told so", error.getMessage());
                assertEquals("1", error.attributes().get("n"));
                assertEquals(1, seen.size(), code.name());
            }
        }
    }

    /** Retries end at the deadline, with the error that came last. */
    @Test
    void givesUpAtTheDeadline() throws IOException {
        for (int count = 0; count < 1000; count++) {
            failures.add(ErrorCode.OVERLOADED);
        }
        try (Client client = new Client(start(0), "e")) {
            ScoreOptions brief = ScoreOptions.NONE.withTimeout(Duration.ofMillis(300));
            long started = System.nanoTime();
            assertThrows(OverloadedException.class, () -> client.score(x(), brief));
            assertTrue(Duration.ofNanos(System.nanoTime() - started).toMillis() < 1000);
            assertTrue(seen.size() > 1);
        }
    }

    /** As long as the server asks, by attribute or by metadata, it is left alone; not at all beyond the deadline. */
    @Test
    void waitsAsLongAsTheServerAsks() throws IOException {
        String address = start(0);
        ScoreOptions patient = ScoreOptions.NONE.withTimeout(Duration.ofSeconds(5));
        for (boolean byMetadata : new boolean[] {false, true}) {
            seen.clear();
            retryAfter = new RetryAfter("300", byMetadata);
            failures.add(ErrorCode.OVERLOADED);
            try (Client client = new Client(address, "e")) {
                long started = System.nanoTime();
                client.score(x(), patient);
                assertTrue(Duration.ofNanos(System.nanoTime() - started).toMillis() >= 300);
                assertEquals(2, seen.size());
                seen.clear();
                retryAfter = new RetryAfter("5000", byMetadata);
                failures.add(ErrorCode.OVERLOADED);
                started = System.nanoTime();
                OverloadedException error = assertThrows(OverloadedException.class, () -> client.score(x(), patient));
                assertEquals("5000", error.attributes().get("retry_after_ms"));
                assertTrue(Duration.ofNanos(System.nanoTime() - started).toMillis() < 4000);
                assertEquals(1, seen.size());
            }
        }
    }

    /** A server that is started later is found within the deadline. */
    @Test
    void waitsForAServer() throws Exception {
        int port;
        try (ServerSocket socket = new ServerSocket(0)) {
            port = socket.getLocalPort();
        }
        try (AsyncClient client = new AsyncClient("127.0.0.1:" + port, "e")) {
            CompletableFuture<Answer> early = client.score(x());
            assertThrows(
                    ExecutionException.class,
                    () -> client.score(x(), ScoreOptions.NONE.withTimeout(Duration.ofMillis(200)))
                            .get());
            start(port);
            assertEquals(1, early.get().frame().rows());
        }
    }

    /** However long a timeout is, it is one. */
    @Test
    void takesLongTimeouts() throws IOException {
        Duration longest = Duration.ofSeconds(Long.MAX_VALUE);
        ClientOptions patient = new ClientOptions(longest, 1 << 20, longest, longest, longest, 1, Credentials.UNSET);
        try (Client client = new Client(start(0), "e", patient, InsecureChannelCredentials.create())) {
            assertEquals(1, client.score(x()).frame().rows());
            ScoreOptions request = ScoreOptions.NONE.withTimeout(longest);
            assertEquals(1, client.scoreAsync(x(), request).join().frame().rows());
        }
    }

    /** An address that is not host:port is refused before anything is connected. */
    @ParameterizedTest
    @NullSource
    @ValueSource(
            strings = {"", " ", "localhost", "http://localhost:8001", "localhost:", ":8001", "localhost:65536", "::1:80"
            })
    void refusesAddresses(String address) {
        InvalidRequestException error =
                assertThrows(InvalidRequestException.class, () -> new Client(address, "e").close());
        assertTrue(error.getMessage().contains("give host:port"), error.getMessage());
    }

    /** Names, IPv4 and IPv6 in brackets are addresses. */
    @ParameterizedTest
    @ValueSource(strings = {"localhost:1", "my-router.internal:65535", "127.0.0.1:8001", "[::1]:8001"})
    void takesAddresses(String address) {
        new Client(address, "e").close();
    }

    /** Where nobody listens, the error says where that is, and that the connection was refused. */
    @Test
    void namesWhereNobodyListens() throws IOException {
        int port;
        try (ServerSocket socket = new ServerSocket(0)) {
            port = socket.getLocalPort();
        }
        ScoreOptions brief = ScoreOptions.NONE.withTimeout(Duration.ofMillis(300));
        try (Client client = new Client("127.0.0.1:" + port, "e")) {
            UnavailableException once = assertThrows(UnavailableException.class, () -> client.score(x(), brief));
            UnavailableException stream = assertThrows(
                    UnavailableException.class,
                    () -> client.stream(List.of(x())).hasNext());
            for (UnavailableException error : List.of(once, stream)) {
                assertTrue(error.getMessage().startsWith("no connection to 127.0.0.1:" + port), error.getMessage());
                assertTrue(error.getMessage().contains("Connection refused"), error.getMessage());
                assertEquals("127.0.0.1:" + port, error.attributes().get("address"));
            }
        }
    }

    /** What a request says beside its rows is sent. */
    @Test
    void sendsOptions() throws IOException {
        try (Client client =
                new Client(start(0), "credit", ClientOptions.DEFAULT, InsecureChannelCredentials.create())) {
            ScoreOptions options = ScoreOptions.NONE
                    .withRequestId("mine")
                    .withContext(Map.of("customer", "7"))
                    .withForceModel("tree")
                    .explained();
            client.score(x(), options);
        }
        ScoreRequest request = seen.remove();
        assertEquals("credit", request.getEndpoint());
        assertEquals("mine", request.getRequestId());
        assertEquals("7", request.getContextOrThrow("customer"));
        assertTrue(request.getDiagnostics().getExplain());
        assertEquals("tree", request.getDiagnostics().getForceModel());
    }
}
