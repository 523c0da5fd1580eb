package io.rendezvous.internal;

import io.nats.client.Connection;
import io.opentelemetry.api.OpenTelemetry;
import io.rendezvous.Model;
import io.rendezvous.ServeOptions;
import io.rendezvous.v1.ModelInfo;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One served model in this process: opens its doors, closes them. */
public final class Replica {
    private static final Logger LOG = LoggerFactory.getLogger(Replica.class);
    private static final Duration GRPC_GRACE = Duration.ofSeconds(3);
    private static final Duration FLUSH_TIMEOUT = Duration.ofSeconds(2);
    private static final double MAX_PAYLOAD_SHARE = 0.95;
    private static final long WATCH_MS = 50;

    private final Model model;
    private final ServeOptions options;
    private final OpenTelemetry given;
    private final String name = Ids.newReplicaName(hostName());
    private final Counters counters = new Counters();
    private final CountDownLatch closing = new CountDownLatch(1);
    private final ModelThread thread;
    private final ScheduledExecutorService timer = threads("rendezvous-timer", 1);
    private final ScheduledExecutorService upkeep = threads("rendezvous-upkeep", 3);
    private volatile Telemetry telemetry;
    private volatile GrpcDoor grpc;
    private volatile PostboxDoor postbox;

    /**
     * Prepares a replica; nothing is opened yet.
     *
     * @param model the author's model, not set up
     * @param options how to serve it
     * @param given the author's OpenTelemetry; null: the global one, or as the environment says
     */
    public Replica(Model model, ServeOptions options, OpenTelemetry given) {
        this.model = model;
        this.options = options;
        this.given = given;
        this.thread = new ModelThread(options.scoringLimit());
    }

    /**
     * Sets the model up and opens both doors; waits for NATS and for the stream as long as it takes.
     *
     * @throws InterruptedException closed while waiting
     * @throws Exception what the model's setup throws, or the port is taken
     */
    public void start() throws Exception {
        Telemetry made = Telemetry.open(given, options, name); // before the author's setup, which may ask for it
        telemetry = made;
        Traces traces = new Traces(made.telemetry());
        ModelInfo info = setUp();
        ServedModel served = new ServedModel(model, info);
        ParcelScorer.Identity identity = new ParcelScorer.Identity(
                options.endpoint(), options.name(), options.version(), name, options.enricher());
        ParcelScorer scorer = new ParcelScorer(served, identity, thread, traces, Clocks::unixUs);
        timer.scheduleWithFixedDelay(this::watch, WATCH_MS, WATCH_MS, TimeUnit.MILLISECONDS);
        if (options.grpc()) {
            grpc = new GrpcDoor(new ScoreService(scorer, thread, options, info, traces), options);
            grpc.start();
        }
        if (options.postbox()) {
            openPostbox(scorer, info);
        }
    }

    /** Where gRPC is served, as {@code host:port}; empty when it is not. */
    public String grpcAddress() {
        return grpc == null ? "" : grpc.address();
    }

    /** Name of this process. */
    public String name() {
        return name;
    }

    /**
     * Drains: reads nothing more, finishes and publishes what is being scored, closes everything.
     *
     * @throws InterruptedException the thread was interrupted; not everything is closed
     */
    public void stop() throws InterruptedException {
        closing.countDown();
        Thread grpcStop = new Thread(this::stopGrpc, "rendezvous-stop");
        grpcStop.setDaemon(true);
        grpcStop.start();
        if (postbox != null) {
            postbox.close();
        }
        grpcStop.join();
        try {
            thread.run(Executors.callable(model::close)).get(FLUSH_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS);
        } catch (ExecutionException | TimeoutException error) {
            LOG.warn("the model did not close", error);
        }
        thread.stop();
        timer.shutdownNow();
        upkeep.shutdownNow();
    }

    /** Sends the spans that are not sent yet, for so long at most. */
    public void closeTelemetry(Duration most) {
        Telemetry made = telemetry;
        if (made != null) {
            made.close(most);
        }
    }

    /**
     * Closes the connection without waiting for the model, whose thread is left behind.
     *
     * @throws InterruptedException the thread was interrupted
     */
    public void abort() throws InterruptedException {
        timer.shutdownNow();
        upkeep.shutdownNow();
        if (postbox != null) {
            postbox.abort();
        }
    }

    private ModelInfo setUp() throws Exception {
        ModelInfo[] declared = new ModelInfo[1];
        try {
            thread.run(() -> {
                        model.setup();
                        declared[0] = model.info();
                        return null;
                    })
                    .get();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof Exception cause) {
                throw cause;
            }
            throw error;
        }
        return Origin.complete(model, declared[0], options.name(), options.version());
    }

    private void openPostbox(ParcelScorer scorer, ModelInfo info) throws InterruptedException {
        String label = "model " + options.endpoint() + "/" + options.name() + ":" + options.version() + " " + name;
        PostboxDoor made = new PostboxDoor(
                options,
                label,
                closing,
                this::report,
                connection -> reader(connection, scorer),
                connection -> new Registration(connection, info, options, counters, name, grpcAddress()));
        postbox = made;
        made.open(timer, upkeep);
    }

    private PostboxReader reader(Connection connection, ParcelScorer scorer) {
        long maxPayload = connection.getServerInfo().getMaxPayload();
        scorer.limitRows(options.maxRows());
        scorer.limitBytes((int) Math.min(Names.MAX_PARCEL_BYTES, maxPayload * MAX_PAYLOAD_SHARE));
        return new PostboxReader(connection, scorer, thread, options, counters, upkeep);
    }

    /** Nobody is to count on a replica that may not read. */
    private void report(boolean serves) {
        GrpcDoor door = grpc;
        if (door != null && closing.getCount() > 0) {
            door.report(serves);
        }
    }

    private void watch() {
        guarded(thread::watch).run();
    }

    /** A periodic task that throws would not be run again. */
    static Runnable guarded(Runnable task) {
        return () -> {
            try {
                task.run();
            } catch (RuntimeException error) {
                LOG.error("a fault of this SDK, please report it", error);
            }
        };
    }

    private void stopGrpc() {
        if (grpc == null) {
            return;
        }
        try {
            grpc.stop(GRPC_GRACE);
        } catch (InterruptedException error) {
            LOG.debug("interrupted while gRPC calls ended");
        }
    }

    private static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException error) {
            return "host";
        }
    }

    private static ScheduledExecutorService threads(String name, int count) {
        return Executors.newScheduledThreadPool(count, task -> {
            Thread thread = new Thread(task, name);
            thread.setDaemon(true);
            return thread;
        });
    }
}
