package io.rendezvous.integration;

import io.nats.client.Connection;
import io.nats.client.JetStreamApiException;
import io.nats.client.Nats;
import io.nats.client.Options;
import io.nats.client.api.AckPolicy;
import io.nats.client.api.ConsumerConfiguration;
import io.nats.client.api.KeyValueConfiguration;
import io.nats.client.api.StreamConfiguration;
import io.rendezvous.Certificates;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * A nats-server with mutual TLS and an account of two users: a router that may do all, and model {@code m} of endpoint
 * {@code e} that may do what docs/protocol.md says.
 */
final class LockedNats {
    static final String ID = "abcdefghijkl";
    static final String SECRET = "bcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstu";
    static final String KEY = "rv_" + ID + "_" + SECRET;

    private static final String MODEL = """
            {user: "%s", password: "%s", permissions: {
              publish: {allow: [
                "$JS.API.STREAM.INFO.KV_rv_models", "$JS.API.STREAM.INFO.KV_rv_replicas",
                "$JS.API.CONSUMER.INFO.RV_e.m__1", "$JS.API.CONSUMER.MSG.NEXT.RV_e.m__1", "$JS.ACK.RV_e.m__1.>",
                "$KV.rv_models.e.m.*", "$KV.rv_replicas.e.m.>", "rv.e.score.m.*"]}
              subscribe: {allow: ["_INBOX_%s.>"]}}}
            """;

    private final Path folder = Files.createTempDirectory("rendezvous-locked");
    private final int port;
    private Certificates authority;
    private Certificates.Pair own;
    private Process process;

    LockedNats(Certificates authority, Certificates.Pair pair) throws Exception {
        try (ServerSocket socket = new ServerSocket(0)) {
            port = socket.getLocalPort();
        }
        use(authority, pair);
        write(true);
        start();
    }

    /** Takes another authority, for itself and for those who connect; counts from the next start. */
    void use(Certificates other, Certificates.Pair pair) throws IOException {
        authority = other;
        own = pair;
        Files.copy(other.ca(), folder.resolve("ca.pem"), StandardCopyOption.REPLACE_EXISTING);
        Files.copy(own.certificate(), folder.resolve("cert.pem"), StandardCopyOption.REPLACE_EXISTING);
        Files.copy(own.key(), folder.resolve("cert.key"), StandardCopyOption.REPLACE_EXISTING);
    }

    String address() {
        return "127.0.0.1:" + port;
    }

    /** What the server has logged. */
    String log() throws IOException {
        return Files.readString(folder.resolve("log"));
    }

    void start() throws Exception {
        Path log = folder.resolve("log");
        int starts = Files.exists(log) ? starts() : 0;
        process = new ProcessBuilder(
                        NatsServer.program(), "-c", folder.resolve("nats.conf").toString())
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()))
                .start();
        while (starts() == starts) {
            if (!process.isAlive()) {
                throw new IOException("nats-server ended: " + log());
            }
            Thread.sleep(10);
        }
    }

    private int starts() throws IOException {
        return log().split("Server is ready", -1).length - 1;
    }

    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** Adds the model's user, or takes it away; the server heeds it at once. */
    void allowModel(boolean allowed) throws Exception {
        write(allowed);
        new ProcessBuilder("kill", "-HUP", String.valueOf(process.pid()))
                .start()
                .waitFor();
    }

    /** Connects as the router. */
    Connection router() throws Exception {
        return Nats.connect(Options.builder()
                .server("nats://" + address())
                .userInfo("router", "of-a-test")
                .sslContext(context())
                .maxReconnects(-1)
                .reconnectWait(Duration.ofMillis(50))
                .build());
    }

    /** Makes what a router makes: streams, buckets. */
    static void furnish(Connection router) throws IOException, JetStreamApiException {
        stream(router, "RV_e", "rv.e.input");
        stream(router, "RV_e_SCORES", "rv.e.score.>");
        for (String bucket : new String[] {"rv_models", "rv_replicas"}) {
            router.keyValueManagement()
                    .create(KeyValueConfiguration.builder(bucket).build());
        }
    }

    /** Makes the model's consumer, as a router does. */
    static void addConsumer(Connection router, Duration ackWait) throws IOException, JetStreamApiException {
        router.jetStreamManagement()
                .addOrUpdateConsumer(
                        "RV_e",
                        ConsumerConfiguration.builder()
                                .durable("m__1")
                                .ackPolicy(AckPolicy.Explicit)
                                .ackWait(ackWait)
                                .maxDeliver(5)
                                .filterSubject("rv.e.input")
                                .build());
    }

    void close() throws InterruptedException {
        kill();
    }

    private static void stream(Connection router, String name, String subject)
            throws IOException, JetStreamApiException {
        router.jetStreamManagement()
                .addStream(StreamConfiguration.builder()
                        .name(name)
                        .subjects(subject)
                        .build());
    }

    private void write(boolean withModel) throws IOException {
        String model = withModel ? ", " + MODEL.formatted(ID, SECRET, ID) : "";
        Files.writeString(folder.resolve("nats.conf"), """
                listen: "%s"
                jetstream {store_dir: "%s"}
                tls {cert_file: "%s", key_file: "%s", ca_file: "%s", verify: true}
                accounts {T {jetstream: enabled, users: [{user: router, password: "of-a-test"}%s]}}
                """.formatted(
                        address(),
                        folder.resolve("store"),
                        folder.resolve("cert.pem"),
                        folder.resolve("cert.key"),
                        folder.resolve("ca.pem"),
                        model));
    }

    private SSLContext context() throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        CertificateFactory certificates = CertificateFactory.getInstance("X.509");
        try (var ca = Files.newInputStream(authority.ca());
                var chain = Files.newInputStream(own.certificate());
                var key = Files.newInputStream(own.key())) {
            store.setCertificateEntry("ca", certificates.generateCertificate(ca));
            store.setKeyEntry(
                    "own",
                    io.grpc.util.CertificateUtils.getPrivateKey(key),
                    new char[0],
                    new java.security.cert.Certificate[] {certificates.generateCertificate(chain)});
        }
        KeyManagerFactory own = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        own.init(store, new char[0]);
        TrustManagerFactory trusted = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trusted.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(own.getKeyManagers(), trusted.getTrustManagers(), null);
        return context;
    }

    /** Waits until the log holds a text. */
    void awaitLog(String text) throws Exception {
        long started = System.nanoTime();
        while (!log().contains(text)) {
            if (System.nanoTime() - started > TimeUnit.SECONDS.toNanos(15)) {
                throw new AssertionError("nats-server did not log '" + text + "': " + log());
            }
            Thread.sleep(20);
        }
    }
}
