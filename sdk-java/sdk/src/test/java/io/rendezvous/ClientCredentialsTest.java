package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.TlsServerCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.testing.exporter.InMemorySpanExporter;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.SimpleSpanProcessor;
import io.rendezvous.internal.GrpcErrors;
import io.rendezvous.v1.DescribeRequest;
import io.rendezvous.v1.ModelInfo;
import io.rendezvous.v1.ScoreGrpc;
import io.rendezvous.v1.ScoreReply;
import io.rendezvous.v1.ScoreRequest;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Keys and TLS of clients, before a server that notes what it is shown. */
@Timeout(40)
class ClientCredentialsTest {
    private static final String SECRET = "bcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstu";
    private static final String KEY = "rv_abcdefghijkl_" + SECRET;
    private static final ScoreOptions BRIEF = ScoreOptions.NONE.withTimeout(Duration.ofSeconds(2));
    private static Certificates authority;
    private static Certificates.Pair own;

    private final Queue<String> shown = new ConcurrentLinkedQueue<>();
    private Server server;

    @TempDir
    private Path folder;

    @BeforeAll
    static void makeAuthority() throws Exception {
        authority = new Certificates();
        own = authority.issue("client", "dns:client");
    }

    @AfterEach
    void stop() {
        if (server != null) {
            server.shutdownNow();
        }
    }

    private final ScoreGrpc.ScoreImplBase service = new ScoreGrpc.ScoreImplBase() {
        @Override
        public void describe(DescribeRequest request, StreamObserver<ModelInfo> observer) {
            observer.onNext(ModelInfo.getDefaultInstance());
            observer.onCompleted();
        }

        @Override
        public void score(ScoreRequest request, StreamObserver<ScoreReply> observer) {
            if (request.getContextMap().containsKey("refuse")) {
                ErrorCode code = ErrorCode.valueOf(request.getContextOrThrow("refuse"));
                observer.onError(GrpcErrors.toStatus(RendezvousException.of(code, "refused", Map.of())));
                return;
            }
            observer.onNext(reply(request));
            observer.onCompleted();
        }

        @Override
        public StreamObserver<ScoreRequest> scoreStream(StreamObserver<ScoreReply> observer) {
            return new StreamObserver<>() {
                @Override
                public void onNext(ScoreRequest request) {
                    observer.onNext(reply(request));
                }

                @Override
                public void onError(Throwable error) {
                    observer.onError(error);
                }

                @Override
                public void onCompleted() {
                    observer.onCompleted();
                }
            };
        }
    };

    private static ScoreReply reply(ScoreRequest request) {
        return ScoreReply.newBuilder()
                .setRequestId(request.getRequestId())
                .setOutputs(request.getInputs())
                .build();
    }

    private String start(ServerCredentials credentials) throws IOException {
        server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0), credentials)
                .addService(service)
                .intercept(new ServerInterceptor() {
                    @Override
                    public <Q, R> ServerCall.Listener<Q> interceptCall(
                            ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
                        String header = headers.get(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER));
                        shown.add(call.getMethodDescriptor().getBareMethodName() + " " + header);
                        return next.startCall(call, headers);
                    }
                })
                .build()
                .start();
        return "127.0.0.1:" + server.getPort();
    }

    private String startTls(String names, boolean asks) throws Exception {
        Certificates.Pair pair = authority.issue("server-" + System.nanoTime(), names);
        TlsServerCredentials.Builder credentials = TlsServerCredentials.newBuilder()
                .keyManager(pair.certificate().toFile(), pair.key().toFile())
                .trustManager(authority.ca().toFile());
        return start((asks ? credentials.clientAuth(TlsServerCredentials.ClientAuth.REQUIRE) : credentials).build());
    }

    private static Frame x() {
        return Frame.builder().fp64("x", 1).build();
    }

    /** Every kind of call shows the key, from an argument or a file; without one nothing is shown. */
    @Test
    void showsTheKey() throws Exception {
        String address = start(InsecureServerCredentials.create());
        Path file = Files.writeString(folder.resolve("key"), KEY + "\n");
        for (ClientOptions options :
                List.of(ClientOptions.DEFAULT.withKey(KEY), ClientOptions.DEFAULT.withKeyFile(file))) {
            shown.clear();
            try (Client client = new Client(address, "e", options)) {
                client.describe();
                client.score(x());
                client.stream(List.of(x())).forEachRemaining(Answer::frame);
                client.scoreTable(x(), 1, TableProgress.NONE).frame();
            }
            String bearer = "Bearer " + KEY;
            assertEquals(
                    List.of("Describe " + bearer, "Score " + bearer, "ScoreStream " + bearer, "Score " + bearer),
                    List.copyOf(shown));
        }
        shown.clear();
        try (Client client = new Client(address, "e")) {
            client.score(x());
        }
        assertEquals(List.of("Score null"), List.copyOf(shown));
    }

    /** A server is believed if its certificate is of the authority and names its host. */
    @Test
    void checksTheServer() throws Exception {
        String address = startTls("ip:127.0.0.1", false);
        ClientOptions options = ClientOptions.DEFAULT.withKey(KEY);
        try (Client client = new Client(address, "e", options.withCa(authority.ca()))) {
            client.score(x());
        }
        Certificates other = new Certificates();
        for (ClientOptions wrong : List.of(options, options.withTls(true), options.withCa(other.ca()))) {
            shown.clear();
            try (Client client = new Client(address, "e", wrong)) {
                assertThrows(UnavailableException.class, () -> client.score(x(), BRIEF));
            }
            assertTrue(shown.isEmpty());
        }
    }

    /** A server whose certificate names another host is not believed. */
    @Test
    void checksTheName() throws Exception {
        String address = startTls("dns:elsewhere.example", false);
        ClientOptions options = ClientOptions.DEFAULT.withKey(KEY).withCa(authority.ca());
        try (Client client = new Client(address, "e", options)) {
            assertThrows(UnavailableException.class, () -> client.score(x(), BRIEF));
        }
        assertTrue(shown.isEmpty());
    }

    /** A server that asks for a certificate gets the client's; one without is turned away. */
    @Test
    void showsItsCertificate() throws Exception {
        String address = startTls("ip:127.0.0.1", true);
        ClientOptions options = ClientOptions.DEFAULT.withCa(authority.ca());
        try (Client client = new Client(address, "e", options.withCertificate(own.certificate(), own.key()))) {
            client.score(x());
        }
        try (Client client = new Client(address, "e", options)) {
            assertThrows(UnavailableException.class, () -> client.score(x(), BRIEF));
        }
    }

    /** A key goes to another machine only over TLS, or if that is permitted. */
    @ParameterizedTest
    @ValueSource(strings = {"router.example:8001", "192.0.2.1:8001", "localhost.example:1", "[2001:db8::1]:1"})
    void keepsTheKeyOffTheWire(String address) {
        ClientOptions keyed = ClientOptions.DEFAULT.withKey(KEY);
        InvalidRequestException error =
                assertThrows(InvalidRequestException.class, () -> new Client(address, "e", keyed));
        assertTrue(error.getMessage().contains("in the clear"), error.getMessage());
        assertFalse(error.getMessage().contains(SECRET));
        new Client(address, "e", keyed.withInsecure()).close();
        new Client(address, "e", keyed.withTls(true)).close();
        new Client(address, "e").close();
    }

    /** To this machine it may go in the clear. */
    @ParameterizedTest
    @ValueSource(strings = {"localhost:1", "LOCALHOST:1", "127.0.0.1:1", "127.255.3.4:1", "[::1]:1"})
    void permitsLoopback(String address) {
        new Client(address, "e", ClientOptions.DEFAULT.withKey(KEY)).close();
    }

    /** Neither options, clients, errors nor spans tell the secret. */
    @ParameterizedTest
    @ValueSource(strings = {"UNAUTHENTICATED", "PERMISSION_DENIED", "INTERNAL"})
    void tellsNobody(String code) throws Exception {
        InMemorySpanExporter spans = InMemorySpanExporter.create();
        OpenTelemetrySdk telemetry = OpenTelemetrySdk.builder()
                .setTracerProvider(SdkTracerProvider.builder()
                        .addSpanProcessor(SimpleSpanProcessor.create(spans))
                        .build())
                .build();
        ClientOptions options = ClientOptions.DEFAULT.withKey(KEY);
        StringWriter said = new StringWriter();
        String address = start(InsecureServerCredentials.create());
        try (Client client = new Client(address, "e", options, null, telemetry)) {
            RendezvousException error = assertThrows(
                    RendezvousException.class, () -> client.score(x(), BRIEF.withContext(Map.of("refuse", code))));
            assertEquals(code, error.code().name());
            error.printStackTrace(new PrintWriter(said));
            said.append(client.toString()).append(options.toString());
            said.append(error.attributes().toString())
                    .append(options.credentials().toString());
        }
        assertEquals(1, shown.size(), "sent again");
        assertEquals(1, spans.getFinishedSpanItems().size());
        said.append(spans.getFinishedSpanItems().toString());
        assertFalse(said.toString().contains(SECRET), said.toString());
        assertTrue(said.toString().contains("rv_abcdefghijkl_***"));
        telemetry.close();
    }
}
