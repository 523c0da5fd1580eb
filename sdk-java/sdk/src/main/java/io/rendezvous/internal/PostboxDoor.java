package io.rendezvous.internal;

import io.nats.client.Connection;
import io.rendezvous.ServeOptions;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One replica at its endpoint's postbox: its connection to NATS, what reads there, and its registration.
 *
 * <p>A connection that was closed for good, as NATS refused user or key, is replaced by a new one, for as long as that
 * takes; meanwhile the replica does not serve.
 */
final class PostboxDoor {
    private static final Logger LOG = LoggerFactory.getLogger(PostboxDoor.class);
    private static final Duration FLUSH_TIMEOUT = Duration.ofSeconds(2);

    private final ServeOptions options;
    private final String label;
    private final CountDownLatch closing;
    private final Consumer<Boolean> serving;
    private final Function<Connection, PostboxReader> readers;
    private final Function<Connection, Registration> registrations;
    private volatile Session session;

    /**
     * Prepares; nothing is opened yet.
     *
     * @param label shown by the server's monitoring
     * @param closing counted down when nothing is waited for any more
     * @param serving told false when NATS refuses this program, true when it reads
     */
    PostboxDoor(
            ServeOptions options,
            String label,
            CountDownLatch closing,
            Consumer<Boolean> serving,
            Function<Connection, PostboxReader> readers,
            Function<Connection, Registration> registrations) {
        this.options = options;
        this.label = label;
        this.closing = closing;
        this.serving = serving;
        this.readers = readers;
        this.registrations = registrations;
    }

    /** Waits for NATS and the stream as long as it takes, then reads; looks after that on a timer from now on. */
    void open(ScheduledExecutorService timer, ScheduledExecutorService upkeep) throws InterruptedException {
        begin();
        long tickMs = Math.max(20, Math.min(500, session.reader.ackWait().toMillis() / 6));
        timer.scheduleWithFixedDelay(Replica.guarded(this::tick), tickMs, tickMs, TimeUnit.MILLISECONDS);
        upkeep.scheduleWithFixedDelay(
                Replica.guarded(this::register), 0, Registration.REFRESH_MS, TimeUnit.MILLISECONDS);
    }

    /** Drains: reads nothing more, publishes what is being scored, closes the connection. */
    void close() throws InterruptedException {
        Session last = session;
        if (last != null) {
            last.stop();
        }
    }

    /** Closes the connection without waiting for the model. */
    void abort() throws InterruptedException {
        Session last = session;
        if (last != null) {
            last.connection.close();
        }
    }

    private void begin() throws InterruptedException {
        while (true) {
            Session made = new Session();
            if (made.start()) {
                serving.accept(true);
                made.closed.thenRun(this::beginAgain);
                if (closing.getCount() == 0) {
                    made.stop(); // whoever closes may have stopped the connection before
                }
                return;
            }
            made.connection.close();
        }
    }

    private void beginAgain() {
        if (closing.getCount() == 0) {
            return;
        }
        Thread thread = new Thread(
                () -> {
                    try {
                        session.reader.stop();
                        begin();
                    } catch (InterruptedException error) {
                        LOG.debug("closed while waiting for NATS again");
                    }
                },
                "rendezvous-reconnect");
        thread.setDaemon(true);
        thread.start();
    }

    private void tick() {
        session.reader.tick();
    }

    private void register() {
        if (session.connection.getStatus() != Connection.Status.CLOSED) {
            session.registration.refresh();
        }
    }

    /** The life of one connection. */
    private final class Session implements NatsConnections.Listener {
        private final CompletableFuture<Void> closed = new CompletableFuture<>();
        private final Connection connection;
        private final CompletableFuture<Void> ready = new CompletableFuture<>();
        private final PostboxReader reader;
        private final Registration registration;

        Session() throws InterruptedException {
            connection = NatsConnections.connect(options.nats(), options.credentials(), label, this, closing);
            reader = readers.apply(connection);
            registration = registrations.apply(connection);
            ready.complete(null);
        }

        /** Registers and begins to read; false: the connection was closed for good meanwhile. */
        boolean start() throws InterruptedException {
            session = this;
            registration.refresh();
            return reader.start(closing, registration::refresh);
        }

        void stop() throws InterruptedException {
            reader.stop();
            registration.stop();
            try {
                connection.flush(FLUSH_TIMEOUT);
            } catch (TimeoutException | IllegalStateException error) {
                LOG.warn("the last scores may not have left: {}", error.toString());
            }
            connection.close();
        }

        @Override
        public void reconnected() {
            ready.thenRun(() -> {
                registration.registerAgain();
                reader.onReconnected();
            });
        }

        @Override
        public void refused() {
            serving.accept(false);
        }

        @Override
        public void closed() {
            if (closing.getCount() > 0) {
                serving.accept(false);
                LOG.error(
                        "NATS at {} refuses this program, which served before: was its key revoked? trying again",
                        Secrets.redact(options.nats()));
            }
            closed.complete(null);
        }
    }
}
