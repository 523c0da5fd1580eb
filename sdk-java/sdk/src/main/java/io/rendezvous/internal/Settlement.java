package io.rendezvous.internal;

import io.nats.client.Connection;
import io.nats.client.Dispatcher;
import io.nats.client.Message;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Acknowledges parcels whose scores were published, after the server has confirmed that it has them (P23).
 *
 * <p>The server handles what one connection sends in order. So a small message to this process itself, sent after the
 * scores, tells by its return that they have arrived; one is sent for all that were published meanwhile, and nobody
 * waits for it. Where the connection was lost between, a score may be lost with it: then the parcel is not
 * acknowledged, comes again and is scored again. (jnats' own {@code flush} waits, and for up to its whole timeout
 * after a reconnection, because its pongs may be one behind.) A key may not publish to an inbox, also not to its own:
 * there a question to the server, whose answer comes after what was sent before it, is the message. Thread-safe.
 */
final class Settlement {
    static final byte[] ACK = "+ACK".getBytes(StandardCharsets.US_ASCII);
    static final byte[] NAK = "-NAK".getBytes(StandardCharsets.US_ASCII);
    static final byte[] IN_PROGRESS = "+WPI".getBytes(StandardCharsets.US_ASCII);
    static final byte[] TERMINATE = "+TERM".getBytes(StandardCharsets.US_ASCII);

    private static final Logger LOG = LoggerFactory.getLogger(Settlement.class);
    private static final long OVERDUE_NS = TimeUnit.SECONDS.toNanos(1);

    private final Connection connection;
    private final Dispatcher dispatcher;
    private final String inbox;
    private final String asked;
    private List<Waiting> published = new ArrayList<>();
    private List<Waiting> settling = List.of();
    private long marker;
    private long markedNs;

    /**
     * Makes one.
     *
     * @param asked subject whose server answers there in turn, where this program may not publish to its own inbox;
     *     null: it may
     */
    Settlement(Connection connection, String asked) {
        this.connection = connection;
        this.asked = asked;
        this.inbox = connection.createInbox();
        this.dispatcher = connection.createDispatcher();
        dispatcher.subscribe(inbox + ".*", this::confirmed);
    }

    /** Which life of the connection this is; a reconnection begins another one. */
    long epoch() {
        return connection.getStatistics().getReconnects();
    }

    /** Takes parcels whose scores were just published. */
    synchronized void add(List<Waiting> parcels) {
        published.addAll(parcels);
        mark();
    }

    /** Returns the parcels that are not acknowledged yet. */
    synchronized List<Waiting> unsettled() {
        List<Waiting> all = new ArrayList<>(settling);
        all.addAll(published);
        return all;
    }

    /** Waits until everything taken was acknowledged or given up, no longer than a time. */
    synchronized void await(Duration most) throws InterruptedException {
        long deadline = System.nanoTime() + most.toNanos();
        while (!published.isEmpty() || !settling.isEmpty()) {
            long leftMs = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
            if (leftMs <= 0) {
                LOG.debug("{} scores not confirmed yet", settling.size() + published.size());
                return;
            }
            wait(leftMs);
        }
    }

    /** What was on its way when the connection was lost is not waited for. */
    synchronized void onReconnected() {
        settle();
    }

    /** Looks for a confirmation that does not come; called by a timer. */
    synchronized void check() {
        if (!settling.isEmpty() && System.nanoTime() - markedNs > OVERDUE_NS) {
            // On a connection that lives on, the acknowledgement cannot overtake the score all the same.
            LOG.debug("{} scores not confirmed in time", settling.size());
            settle();
        }
    }

    /** Ends the subscription. */
    void close() {
        if (connection.getStatus() != Connection.Status.CLOSED) {
            connection.closeDispatcher(dispatcher);
        }
    }

    private synchronized void confirmed(Message message) {
        if (message.getSubject().equals(markerSubject())) {
            settle();
        }
    }

    private void mark() {
        if (!settling.isEmpty() || published.isEmpty()) {
            return;
        }
        settling = published;
        published = new ArrayList<>();
        marker++;
        markedNs = System.nanoTime();
        if (asked == null) {
            send(connection, markerSubject(), new byte[0]);
            return;
        }
        try {
            connection.publish(asked, markerSubject(), new byte[0]);
        } catch (IllegalStateException error) {
            LOG.debug("confirmation of scores not asked for: {}", error.toString());
        }
    }

    private String markerSubject() {
        return inbox + "." + marker;
    }

    /** Acknowledges what was published in this life of the connection; the rest comes again. */
    private void settle() {
        long epoch = epoch();
        if (connection.getStatus() == Connection.Status.CONNECTED) {
            for (Waiting parcel : settling) {
                if (parcel.publishedIn == epoch) {
                    send(connection, parcel.reply, ACK);
                }
            }
        }
        settling = List.of();
        mark();
        notifyAll();
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
