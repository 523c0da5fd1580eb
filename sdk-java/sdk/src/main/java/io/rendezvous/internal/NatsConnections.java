package io.rendezvous.internal;

import io.nats.client.Connection;
import io.nats.client.ConnectionListener;
import io.nats.client.Consumer;
import io.nats.client.ErrorListener;
import io.nats.client.Nats;
import io.nats.client.Options;
import io.rendezvous.InvalidRequestException;
import java.io.IOException;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * NATS connections with the settings that a long-running process needs: it reconnects for ever, notices a silent
 * server within seconds, and logs what happens, the same fault at most once in ten seconds.
 */
public final class NatsConnections {
    private static final Logger LOG = LoggerFactory.getLogger(NatsConnections.class);
    private static final Duration RECONNECT_WAIT = Duration.ofMillis(200);
    private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(2);
    private static final Duration PING_INTERVAL = Duration.ofSeconds(1);
    private static final int MAX_PINGS_OUT = 4;
    private static final long BUFFER_BYTES = 8L * 1024 * 1024;
    private static final int OUTGOING_MESSAGES = 50_000;
    private static final long REPEAT_LOG_NS = TimeUnit.SECONDS.toNanos(10);
    private static final long FIRST_PAUSE_MS = 100;
    private static final long LAST_PAUSE_MS = 2000;

    private NatsConnections() {}

    /**
     * Connects, for as long as it takes.
     *
     * @param urls {@code nats://host:port}, several separated by commas
     * @param name shown by the server's monitoring
     * @param onReconnected called after each reconnection, when subscriptions were sent again
     * @param onClosed called when the connection is closed for good, also by our own close
     * @param closing counted down when nothing is waited for any more
     * @return the connection
     * @throws InterruptedException the thread was interrupted, or closing was counted down
     */
    public static Connection connect(
            String urls, String name, Runnable onReconnected, Runnable onClosed, CountDownLatch closing)
            throws InterruptedException {
        String shown = Secrets.redact(urls);
        Options options = options(urls, name, new Events(shown, onReconnected, onClosed));
        long pauseMs = FIRST_PAUSE_MS;
        RareLog log = new RareLog();
        while (true) {
            try {
                return Nats.connect(options);
            } catch (IOException error) {
                log.warn("waiting for NATS at " + shown + " (" + error.getMessage() + ")");
            }
            if (closing.await(pauseMs, TimeUnit.MILLISECONDS)) {
                throw new InterruptedException("closed while waiting for NATS");
            }
            pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS);
        }
    }

    private static Options options(String urls, String name, Events events) {
        return Options.builder()
                .servers(urls.strip().split("\\s*,\\s*"))
                .connectionName(name)
                .maxReconnects(-1)
                .reconnectWait(RECONNECT_WAIT)
                .reconnectJitter(Duration.ofMillis(50))
                .connectionTimeout(CONNECT_TIMEOUT)
                .pingInterval(PING_INTERVAL)
                .maxPingsOut(MAX_PINGS_OUT)
                .reconnectBufferSize(BUFFER_BYTES)
                .maxMessagesInOutgoingQueue(OUTGOING_MESSAGES)
                .connectionListener(events)
                .errorListener(new Faults())
                .build();
    }

    /**
     * Checks addresses.
     *
     * @param urls as for {@link #connect}
     * @return the same
     * @throws InvalidRequestException one of them is none
     */
    public static String checkAddress(String urls) {
        for (String url : (urls == null ? "" : urls).split("\\s*,\\s*", -1)) {
            try {
                if (url.isBlank()) {
                    throw new IllegalArgumentException("it is empty");
                }
                Options.builder().server(url).build();
            } catch (IllegalArgumentException error) {
                String shown = Secrets.redact(url);
                throw new InvalidRequestException(
                        "the address of NATS is '" + shown + "': give nats://host:port, several separated by commas",
                        Map.of("option", "nats", "actual", shown));
            }
        }
        return urls;
    }

    private static final class Events implements ConnectionListener {
        private final String shown;
        private final Runnable onReconnected;
        private final Runnable onClosed;
        private volatile Connection established;

        Events(String shown, Runnable onReconnected, Runnable onClosed) {
            this.shown = shown;
            this.onReconnected = onReconnected;
            this.onClosed = onClosed;
        }

        @Override
        @SuppressWarnings("deprecation") // the method to implement, until jnats makes its successor abstract
        public void connectionEvent(Connection connection, ConnectionListener.Events event) {
            switch (event) {
                case CONNECTED -> established = connection;
                case DISCONNECTED -> {
                    // so is an attempt to connect that failed, of which the caller tells
                    if (connection == established) {
                        LOG.warn("disconnected from NATS at {}; trying to reconnect", shown);
                    }
                }
                case RECONNECTED -> LOG.info("reconnected to NATS at {}", shown);
                case RESUBSCRIBED -> onReconnected.run();
                case CLOSED -> {
                    // an attempt to connect that failed is closed, too
                    if (connection == established) {
                        onClosed.run();
                    }
                }
                default -> LOG.debug("NATS at {}: {}", shown, event);
            }
        }
    }

    private static final class Faults implements ErrorListener {
        private final RareLog log = new RareLog();

        @Override
        public void errorOccurred(Connection connection, String error) {
            log.warn("NATS: " + error);
        }

        @Override
        public void exceptionOccurred(Connection connection, Exception error) {
            log.warn("NATS: " + error);
        }

        @Override
        public void slowConsumerDetected(Connection connection, Consumer consumer) {
            log.warn("NATS: messages are dropped, a buffer is full; parcels come again");
        }
    }

    /** Says the same thing at most once in ten seconds, without the passwords that jnats' texts hold. */
    private static final class RareLog {
        private final Map<String, Long> saidAt = new ConcurrentHashMap<>();

        void warn(String unsafe) {
            String text = Secrets.scrub(unsafe);
            long now = System.nanoTime();
            Long last = saidAt.get(text);
            if (last == null || now - last > REPEAT_LOG_NS) {
                saidAt.put(text, now);
                LOG.warn(text);
            }
        }
    }
}
