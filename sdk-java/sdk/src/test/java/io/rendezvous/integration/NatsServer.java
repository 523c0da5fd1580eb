package io.rendezvous.integration;

import io.nats.client.Connection;
import io.nats.client.JetStreamApiException;
import io.nats.client.Nats;
import io.nats.client.Options;
import io.nats.client.api.StreamConfiguration;
import io.rendezvous.Vectors;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** A real nats-server on a free port of this machine, with storage that survives its restarts. */
final class NatsServer {
    private final int port;
    private final Path store;
    private String login = "";
    private Process process;

    NatsServer() throws IOException, InterruptedException {
        this("");
    }

    /** One that asks for a password, unless that is empty. */
    NatsServer(String password) throws IOException, InterruptedException {
        try (ServerSocket socket = new ServerSocket(0)) {
            port = socket.getLocalPort();
        }
        store = Files.createTempDirectory("rendezvous-nats");
        start(password);
    }

    String url() {
        return "nats://" + login + "127.0.0.1:" + port;
    }

    /** Starts it and waits until it answers. */
    void start() throws IOException, InterruptedException {
        start("");
    }

    /** Starts it with a password and waits until it answers. */
    void start(String password) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(
                List.of(program(), "-js", "-sd", store.toString(), "-a", "127.0.0.1", "-p", String.valueOf(port)));
        if (!password.isEmpty()) {
            command.addAll(List.of("--user", "u", "--pass", password));
        }
        login = password.isEmpty() ? "" : "u:" + password + "@";
        process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(store.resolve("log").toFile())
                .start();
        while (!answers()) {
            if (!process.isAlive()) {
                throw new IOException("nats-server ended: " + Files.readString(store.resolve("log")));
            }
            Thread.sleep(10);
        }
    }

    /** Kills it, as a crash would. */
    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** Connects and makes an endpoint's two streams. */
    Connection connect(String... endpoints) throws IOException, InterruptedException, JetStreamApiException {
        Connection connection = Nats.connect(Options.builder()
                .server(url())
                .maxReconnects(-1)
                .reconnectWait(Duration.ofMillis(50))
                .build());
        for (String endpoint : endpoints) {
            connection
                    .jetStreamManagement()
                    .addStream(StreamConfiguration.builder()
                            .name("RV_" + endpoint)
                            .subjects(
                                    "rv." + endpoint + ".raw",
                                    "rv." + endpoint + ".raw.*",
                                    "rv." + endpoint + ".input",
                                    "rv." + endpoint + ".decision")
                            .build());
            connection
                    .jetStreamManagement()
                    .addStream(StreamConfiguration.builder()
                            .name("RV_" + endpoint + "_SCORES")
                            .subjects("rv." + endpoint + ".score.>")
                            .build());
        }
        return connection;
    }

    void close() throws InterruptedException {
        kill();
    }

    private boolean answers() {
        try (Socket socket = new Socket("127.0.0.1", port)) {
            return socket.isConnected();
        } catch (IOException error) {
            return false;
        }
    }

    static String program() {
        String named = System.getenv("RENDEZVOUS_NATS_SERVER");
        return named != null
                ? named
                : Vectors.root().resolve(".venv/bin/nats-server").toString();
    }
}
