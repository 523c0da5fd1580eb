package io.rendezvous.integration;

import io.nats.client.Connection;
import io.nats.client.JetStreamApiException;
import io.nats.client.Nats;
import io.nats.client.Options;
import io.nats.client.api.StreamConfiguration;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Three real nats-servers in a cluster, on free ports of this machine. */
final class NatsCluster {
    static final int NODES = 3;
    private static final long PATIENCE_NS = TimeUnit.SECONDS.toNanos(30);

    private final HttpClient http = HttpClient.newHttpClient();
    private final List<Integer> ports = new ArrayList<>();
    private final List<Path> stores = new ArrayList<>();
    private final List<Process> processes = new ArrayList<>();

    NatsCluster() throws IOException, InterruptedException {
        List<ServerSocket> free = new ArrayList<>();
        for (int at = 0; at < 3 * NODES; at++) {
            free.add(new ServerSocket(0)); // all at once, else one is given twice
        }
        for (ServerSocket socket : free) {
            ports.add(socket.getLocalPort());
            socket.close();
        }
        for (int node = 0; node < NODES; node++) {
            stores.add(Files.createTempDirectory("rendezvous-nats"));
            processes.add(null);
            start(node);
        }
        awaitLeader();
    }

    private int client(int node) {
        return ports.get(3 * node);
    }

    private int route(int node) {
        return ports.get(3 * node + 1);
    }

    private int monitor(int node) {
        return ports.get(3 * node + 2);
    }

    /** All addresses. */
    String urls() {
        return IntStream.range(0, NODES)
                .mapToObj(node -> "nats://127.0.0.1:" + client(node))
                .collect(Collectors.joining(","));
    }

    void start(int node) throws IOException {
        String routes = IntStream.range(0, NODES)
                .mapToObj(other -> "nats://127.0.0.1:" + route(other))
                .collect(Collectors.joining(","));
        List<String> command = new ArrayList<>(List.of(NatsServer.program(), "-js", "-n", name(node)));
        command.addAll(List.of("-sd", stores.get(node).toString(), "-a", "127.0.0.1"));
        command.addAll(List.of("-p", String.valueOf(client(node)), "-m", String.valueOf(monitor(node))));
        command.addAll(List.of("--cluster_name", "c", "--cluster", "nats://127.0.0.1:" + route(node)));
        command.addAll(List.of("--routes", routes));
        processes.set(
                node,
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectOutput(ProcessBuilder.Redirect.appendTo(
                                stores.get(node).resolve("log").toFile()))
                        .start());
    }

    /** Kills a node, as a crash would. */
    void kill(int node) throws InterruptedException {
        processes.get(node).destroyForcibly().waitFor();
    }

    static String name(int node) {
        return "n" + node;
    }

    static int nodeOf(String name) {
        return Integer.parseInt(name.substring(1));
    }

    /** The node to which the connection with such a name goes. */
    int nodeServing(String connectionName) throws IOException, InterruptedException {
        for (int node = 0; node < NODES; node++) {
            if (processes.get(node).isAlive() && get(node, "/connz").contains(connectionName)) {
                return node;
            }
        }
        throw new IllegalStateException(connectionName + " is connected nowhere");
    }

    /** Waits until a node is part of the cluster again and has caught up. */
    void awaitHealthy(int node) throws InterruptedException {
        long started = System.nanoTime();
        while (!answers(node, "/healthz")) {
            await(started, "node " + node + " is not healthy");
        }
    }

    private void awaitLeader() throws InterruptedException {
        for (int node = 0; node < NODES; node++) {
            awaitHealthy(node);
        }
    }

    private boolean answers(int node, String path) throws InterruptedException {
        try {
            return send(node, path).statusCode() == 200;
        } catch (IOException error) {
            return false;
        }
    }

    private String get(int node, String path) throws IOException, InterruptedException {
        return send(node, path).body();
    }

    private HttpResponse<String> send(int node, String path) throws IOException, InterruptedException {
        URI uri = URI.create("http://127.0.0.1:" + monitor(node) + path);
        HttpRequest request =
                HttpRequest.newBuilder(uri).timeout(Duration.ofSeconds(2)).build();
        return http.send(request, HttpResponse.BodyHandlers.ofString());
    }

    private static void await(long started, String otherwise) throws InterruptedException {
        if (System.nanoTime() - started > PATIENCE_NS) {
            throw new IllegalStateException(otherwise);
        }
        Thread.sleep(50);
    }

    /** Connects to whichever node answers. */
    Connection connect() throws IOException, InterruptedException {
        return Nats.connect(Options.builder()
                .servers(urls().split(","))
                .maxReconnects(-1)
                .reconnectWait(Duration.ofMillis(50))
                .build());
    }

    /** Makes an endpoint's two streams, on all three nodes. */
    static void makeStreams(Connection connection, String endpoint) throws IOException, JetStreamApiException {
        connection
                .jetStreamManagement()
                .addStream(StreamConfiguration.builder()
                        .name("RV_" + endpoint)
                        .subjects("rv." + endpoint + ".input", "rv." + endpoint + ".decision")
                        .replicas(NODES)
                        .build());
    }

    void close() throws InterruptedException {
        for (int node = 0; node < NODES; node++) {
            kill(node);
        }
    }
}
