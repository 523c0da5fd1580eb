package io.rendezvous.internal;

import io.nats.client.Connection;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Acknowledges parcels whose scores were published, after the server has confirmed that it has them (P23).
 *
 * <p>A thread of its own asks the server once for all that were published meanwhile, so that the model's thread never
 * waits for it. Where the connection was lost between, a score may be lost with it: then the parcel is not
 * acknowledged, comes again and is scored again.
 */
final class Settlement {
    static final byte[] ACK = "+ACK".getBytes(StandardCharsets.US_ASCII);
    static final byte[] NAK = "-NAK".getBytes(StandardCharsets.US_ASCII);
    static final byte[] IN_PROGRESS = "+WPI".getBytes(StandardCharsets.US_ASCII);
    static final byte[] TERMINATE = "+TERM".getBytes(StandardCharsets.US_ASCII);

    private static final Logger LOG = LoggerFactory.getLogger(Settlement.class);
    private static final Duration FLUSH_TIMEOUT = Duration.ofSeconds(2);

    private final Connection connection;
    private final Thread thread = new Thread(this::work, "rendezvous-settlement");
    private List<Waiting> published = new ArrayList<>();
    private List<Waiting> settling = List.of();
    private boolean stopping;

    Settlement(Connection connection) {
        this.connection = connection;
        thread.setDaemon(true);
        thread.start();
    }

    /** Which life of the connection this is; a reconnection begins another one. */
    long epoch() {
        return connection.getStatistics().getReconnects();
    }

    /** Takes parcels whose scores were just published. */
    synchronized void add(List<Waiting> parcels) {
        published.addAll(parcels);
        notifyAll();
    }

    /** Returns the parcels that are not acknowledged yet. */
    synchronized List<Waiting> unsettled() {
        List<Waiting> all = new ArrayList<>(settling);
        all.addAll(published);
        return all;
    }

    /** Waits until everything taken was acknowledged or given up. */
    synchronized void await() throws InterruptedException {
        while (!published.isEmpty() || !settling.isEmpty()) {
            wait();
        }
    }

    /** Settles what was taken, then ends. */
    void stop() throws InterruptedException {
        synchronized (this) {
            stopping = true;
            notifyAll();
        }
        thread.join();
    }

    private void work() {
        try {
            while (next()) {
                settle(settling);
                finish();
            }
        } catch (InterruptedException error) {
            LOG.debug("interrupted; what is not acknowledged comes again");
        }
    }

    private synchronized boolean next() throws InterruptedException {
        while (published.isEmpty() && !stopping) {
            wait();
        }
        settling = published;
        published = new ArrayList<>();
        return !settling.isEmpty();
    }

    private synchronized void finish() {
        settling = List.of();
        notifyAll();
    }

    private void settle(List<Waiting> parcels) throws InterruptedException {
        try {
            connection.flush(FLUSH_TIMEOUT);
        } catch (TimeoutException | IllegalStateException error) {
            LOG.debug("{} scores not confirmed, their parcels come again: {}", parcels.size(), error.toString());
            return;
        }
        long epoch = epoch();
        for (Waiting parcel : parcels) {
            if (parcel.publishedIn == epoch) {
                send(connection, parcel.reply, ACK);
            }
        }
    }

    /** Sends an acknowledgement; when it cannot be sent, the parcel comes again and is scored again. */
    static void send(Connection connection, String reply, byte[] what) {
        try {
            connection.publish(reply, what);
        } catch (IllegalStateException error) {
            LOG.debug("acknowledgement not sent: {}", error.toString());
        }
    }
}
