package io.rendezvous;

import io.opentelemetry.api.OpenTelemetry;
import io.rendezvous.internal.LogIdentity;
import io.rendezvous.internal.LogSetup;
import io.rendezvous.internal.Replica;
import io.rendezvous.internal.StopSignals;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves a model: at the postbox of its endpoint, and over gRPC.
 *
 * <pre>{@code
 * public static void main(String[] arguments) {
 *     ModelServer.builder(new Risk()).endpoint("credit").name("tree").run();
 * }
 * }</pre>
 *
 * <p>{@link #run} is a program's main loop; {@link #start} and {@link #close} embed the server in another one.
 * Several replicas are several processes. Thread-safe.
 */
public final class ModelServer implements AutoCloseable {
    static {
        LogSetup.install(System.getenv()); // before the first logger
    }

    private static final Logger LOG = LoggerFactory.getLogger(ModelServer.class);
    private static final Duration DRAIN_LIMIT = Duration.ofMillis(8000);
    private static final Duration LAST_SPANS = Duration.ofMillis(1500);

    private final ServeOptions options;
    private final Replica replica;
    private CompletableFuture<Void> closed;

    private ModelServer(Model model, ServeOptions options, OpenTelemetry telemetry) {
        this.options = options;
        this.replica = new Replica(model, options, telemetry);
    }

    /**
     * Begins a server.
     *
     * @param model the model; a lambda where its {@code score} is all there is
     * @return the builder
     */
    public static Builder builder(Model model) {
        return new Builder(model);
    }

    /**
     * How this server serves.
     *
     * @return the options
     */
    public ServeOptions options() {
        return options;
    }

    /**
     * Where gRPC is served.
     *
     * @return {@code host:port}; empty before the start and where gRPC is not served
     */
    public String grpcAddress() {
        return replica.grpcAddress();
    }

    /**
     * Name of this process in the installation.
     *
     * @return the replica's name
     */
    public String replica() {
        return replica.name();
    }

    /**
     * Sets the model up and opens both doors; waits for NATS and for the endpoint's streams as long as it takes.
     *
     * <p>Where NATS refuses user or key, now or later, that is logged, health is NOT_SERVING, and it is tried again.
     *
     * @return this server
     * @throws UnavailableException the gRPC port is taken
     * @throws InterruptedException interrupted, or {@link #close}d, while waiting
     * @throws Exception whatever the model's {@code setup} throws
     */
    public ModelServer start() throws Exception {
        replica.start();
        return this;
    }

    /**
     * Serves until SIGTERM or SIGINT, then drains and returns; a second signal ends the process at once.
     *
     * <p>When both doors are open it prints one line on standard output:
     * {@code ready: model NAME:VERSION of endpoint ENDPOINT, replica REPLICA, grpc HOST:PORT}.
     *
     * <p>A program that lets the exception pass ends with status 1.
     *
     * @throws UnavailableException the gRPC port is taken, or the model was still scoring 8 s after the signal
     * @throws ModelFailedException the model's {@code setup} failed
     */
    public void run() {
        LogIdentity.set(options, replica());
        CompletableFuture<Void> failed = new CompletableFuture<>();
        CompletableFuture<Void> stop = StopSignals.install();
        Thread starter = new Thread(() -> startAndAnnounce(failed), "rendezvous-start");
        starter.setDaemon(true);
        starter.start();
        try {
            CompletableFuture.anyOf(stop, failed).get();
        } catch (ExecutionException error) {
            closeWithin(DRAIN_LIMIT);
            throw failure(error.getCause());
        } catch (InterruptedException error) {
            LOG.info("interrupted: draining");
        }
        if (!closeWithin(DRAIN_LIMIT)) {
            throw new UnavailableException(
                    "not drained within " + DRAIN_LIMIT.toMillis()
                            + " ms: what is still being scored comes again elsewhere",
                    Map.of("limit_ms", DRAIN_LIMIT.toMillis()));
        }
    }

    /** Drains: reads nothing more, finishes and publishes what is being scored, closes everything. */
    @Override
    public void close() {
        closeWithin(DRAIN_LIMIT);
    }

    private boolean closeWithin(Duration limit) {
        try {
            closing().get(limit.toMillis(), TimeUnit.MILLISECONDS);
            replica.closeTelemetry(LAST_SPANS);
            return true;
        } catch (TimeoutException | ExecutionException error) {
            LOG.error("not closed within {} ms", limit.toMillis(), error);
            abort();
            return false;
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    /** Ends what would keep the process from ending. */
    private void abort() {
        try {
            replica.abort();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private synchronized CompletableFuture<Void> closing() {
        if (closed == null) {
            CompletableFuture<Void> done = new CompletableFuture<>();
            closed = done;
            Thread closer = new Thread(() -> stop(done), "rendezvous-close");
            closer.setDaemon(true);
            closer.start();
        }
        return closed;
    }

    private void stop(CompletableFuture<Void> done) {
        try {
            replica.stop();
            done.complete(null);
        } catch (InterruptedException | RuntimeException error) {
            done.completeExceptionally(error);
        }
    }

    private void startAndAnnounce(CompletableFuture<Void> failed) {
        try {
            start();
        } catch (Throwable error) {
            failed.completeExceptionally(error);
            return;
        }
        String grpc = options.grpc() ? "grpc " + grpcAddress() : "no grpc";
        System.out.println("ready: model " + options.name() + ":" + options.version() + " of endpoint "
                + options.endpoint() + ", replica " + replica() + ", " + grpc);
        System.out.flush();
    }

    private static RendezvousException failure(Throwable cause) {
        if (cause instanceof RendezvousException error) {
            return error;
        }
        ModelFailedException error = new ModelFailedException("the model could not be set up: " + cause);
        error.initCause(cause);
        return error;
    }

    /** Collects how to serve; what is not set comes from the environment, then from the defaults. Not thread-safe. */
    public static final class Builder {
        private final Model model;
        private final ServeOptions.Builder options = ServeOptions.builder();
        private ServeOptions ready;
        private OpenTelemetry telemetry;

        private Builder(Model model) {
            this.model = model;
        }

        /**
         * Sets the endpoint.
         *
         * @param value endpoint that the model belongs to; default: {@code RENDEZVOUS_ENDPOINT}
         * @return this builder
         */
        public Builder endpoint(String value) {
            options.endpoint(value);
            return this;
        }

        /**
         * Sets the model's name.
         *
         * @param value the name; default: {@code RENDEZVOUS_MODEL}, else the class's
         * @return this builder
         */
        public Builder name(String value) {
            options.name(value);
            return this;
        }

        /**
         * Sets the model's version.
         *
         * @param value the version; default: {@code RENDEZVOUS_VERSION}, else 1
         * @return this builder
         */
        public Builder version(String value) {
            options.version(value);
            return this;
        }

        /**
         * Sets where NATS is.
         *
         * @param value addresses separated by commas; default: {@code RENDEZVOUS_NATS}, else the local port 4222
         * @return this builder
         */
        public Builder nats(String value) {
            options.nats(value);
            return this;
        }

        /**
         * Sets the port of gRPC.
         *
         * @param value the port; 0 takes a free one; default: {@code RENDEZVOUS_GRPC_PORT}, else 0
         * @return this builder
         */
        public Builder grpcPort(int value) {
            options.grpcPort(value);
            return this;
        }

        /**
         * Sets key and TLS of the connection to NATS.
         *
         * @param value what it leaves open comes from {@code RENDEZVOUS_KEY}, {@code RENDEZVOUS_CA} and the like
         * @return this builder
         */
        public Builder credentials(Credentials value) {
            options.credentials(value);
            return this;
        }

        /**
         * Sets any of the options.
         *
         * @param change gets their builder
         * @return this builder
         */
        public Builder options(Consumer<ServeOptions.Builder> change) {
            change.accept(options);
            return this;
        }

        /**
         * Sets all options at once; nothing else counts then.
         *
         * @param value ready options
         * @return this builder
         */
        public Builder options(ServeOptions value) {
            ready = value;
            return this;
        }

        /**
         * Sets the OpenTelemetry whose spans continue the requests' traces.
         *
         * @param value the SDK; default: the global one, if one was set; else, with {@code rendezvous-telemetry} on the
         *     class path, one that the {@code OTEL_*} variables ask for, which becomes the global one
         * @return this builder
         */
        public Builder openTelemetry(OpenTelemetry value) {
            telemetry = value;
            return this;
        }

        /**
         * Makes the server; nothing is opened yet.
         *
         * @return the server
         * @throws InvalidRequestException an option is missing, malformed or out of its range
         */
        public ModelServer build() {
            ServeOptions made =
                    ready != null ? ready : options.defaultName(nameOf(model)).build();
            return new ModelServer(model, made, telemetry);
        }

        /**
         * Makes the server and runs it; see {@link ModelServer#run}.
         *
         * @throws RendezvousException as {@link #build} and {@link ModelServer#run}
         */
        public void run() {
            build().run();
        }

        private static String nameOf(Model model) {
            Class<?> type = model.getClass();
            boolean nameless = type.isHidden() || type.isAnonymousClass() || type.isSynthetic();
            return nameless ? "model" : type.getSimpleName();
        }
    }
}
