package io.rendezvous.internal;

import io.nats.client.AuthenticationException;
import io.nats.client.Connection;
import io.nats.client.ConnectionListener;
import io.nats.client.Consumer;
import io.nats.client.ErrorListener;
import io.nats.client.Nats;
import io.nats.client.Options;
import io.rendezvous.Credentials;
import io.rendezvous.InvalidRequestException;
import java.io.IOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
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

    private static final String BETWEEN = "\\s*,\\s*";

    private NatsConnections() {}

    /** Is told what happens to a connection. */
    public interface Listener {
        /** It is back, and subscriptions were sent again. */
        void reconnected();

        /** NATS refuses user or key; it is tried again. */
        void refused();

        /** It is closed for good, also by our own close; jnats gives up when user or key is refused twice. */
        void closed();
    }

    /**
     * Connects, for as long as it takes; key and certificates are read from their files with each attempt.
     *
     * @param urls {@code nats://host:port}, several separated by commas
     * @param credentials key and TLS, complete
     * @param name shown by the server's monitoring
     * @param listener is told of everything after that, and of refusals
     * @param closing counted down when nothing is waited for any more
     * @return the connection
     * @throws InterruptedException the thread was interrupted, or closing was counted down
     */
    public static Connection connect(
            String urls, Credentials credentials, String name, Listener listener, CountDownLatch closing)
            throws InterruptedException {
        String shown = Secrets.redact(urls);
        Events events = new Events(shown, listener);
        long pauseMs = FIRST_PAUSE_MS;
        RareLog log = new RareLog();
        while (true) {
            try {
                Key key = Key.of(credentials);
                try {
                    return Nats.connect(options(urls, credentials, key, name, events));
                } catch (AuthenticationException error) {
                    String who = key == null ? "user and password of its address" : "key " + key;
                    log.warn("NATS at " + shown + " refuses this program's " + who
                            + ": unknown, wrong, revoked or expired; trying again");
                    listener.refused();
                }
            } catch (IOException | InvalidRequestException error) {
                log.warn("waiting for NATS at " + shown + " (" + error.getMessage() + ")");
            }
            if (closing.await(pauseMs, TimeUnit.MILLISECONDS)) {
                throw new InterruptedException("closed while waiting for NATS");
            }
            pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS);
        }
    }

    private static Options options(String urls, Credentials credentials, Key key, String name, Events events) {
        boolean encrypted = usesTls(urls, credentials);
        Options.Builder options = Options.builder()
                .servers(urls.strip().split(BETWEEN))
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
                .errorListener(new Faults());
        if (key != null) {
            options.userInfo(key.id().toCharArray(), key.secret().toCharArray()).inboxPrefix(key.inboxPrefix());
            if (!encrypted && !credentials.isInsecure()) {
                options.ignoreDiscoveredServers(); // of which nobody said that they are on this machine
            }
        }
        if (encrypted) {
            // by name, not by looked up address: that is what the certificate says
            options.sslContext(NatsTls.of(new TlsFiles(credentials), hosts(urls)))
                    .hostnameResolveMode(Options.HostnameResolveMode.HappyEyeballs);
        }
        return options.build();
    }

    /** Whether connections are encrypted: said by the credentials, or by the scheme of an address. */
    private static boolean usesTls(String urls, Credentials credentials) {
        boolean said = Arrays.stream(urls.strip().split(BETWEEN)).anyMatch(url -> url.startsWith("tls://"));
        return said || credentials.usesTls();
    }

    private static List<String> hosts(String urls) {
        return Arrays.stream(urls.strip().split(BETWEEN))
                .map(url -> Options.builder()
                        .server(url)
                        .build()
                        .getNatsServerUris()
                        .get(0)
                        .getHost()
                        .replaceAll("[\\[\\]]", ""))
                .toList();
    }

    /**
     * Checks that key and certificates can be read, and that the key does not leave this machine in the clear.
     *
     * @param urls as for {@link #connect}
     * @param credentials key and TLS, complete
     * @throws InvalidRequestException a file cannot be used, the key would go in the clear, or there is a key and a user
     */
    public static void checkCredentials(String urls, Credentials credentials) {
        new TlsFiles(credentials).check();
        Key key = Key.of(credentials);
        if (key == null) {
            return;
        }
        if (!Secrets.redact(urls).equals(urls)) {
            throw new InvalidRequestException(
                    "the address of NATS names a user or token, and a key is given: leave one of them out",
                    Map.of("option", "nats"));
        }
        hosts(urls).forEach(host -> Key.checkWay(key, credentials, usesTls(urls, credentials), host));
    }

    /**
     * Checks addresses.
     *
     * @param urls as for {@link #connect}
     * @return the same
     * @throws InvalidRequestException one of them is none
     */
    public static String checkAddress(String urls) {
        for (String url : (urls == null ? "" : urls).split(BETWEEN, -1)) {
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
        private final Listener listener;
        private volatile Connection established;

        Events(String shown, Listener listener) {
            this.shown = shown;
            this.listener = listener;
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
                case RESUBSCRIBED -> listener.reconnected();
                case CLOSED -> {
                    // an attempt to connect that failed is closed, too
                    if (connection == established) {
                        listener.closed();
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
            boolean refused = error.toLowerCase(Locale.ROOT).startsWith("permissions violation");
            log.warn("NATS: " + error + (refused ? ": this program's key may not do that" : ""));
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
