package io.rendezvous.internal;

import io.nats.client.Connection;
import io.nats.client.Dispatcher;
import io.nats.client.Message;
import io.nats.client.Subscription;
import io.nats.client.impl.Headers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Continuous pull: a durable consumer read without a round trip for each message.
 *
 * <p>Pull requests stand at the server, in two halves that run out at different times, so that one of them always
 * waits for the next message. Every request counts against the credit: at no time are more messages on their way or
 * unprocessed than that.
 *
 * <p>jnats' own {@code ConsumerContext.consume} asks for more when a message is handed over, not when it was
 * processed, and keeps what waits in a queue of its own. So it can neither hold a credit, nor let what waits be
 * scored together, nor let it be defended by in-progress signals; hence pull requests on a plain subscription.
 *
 * <p>Liveness rule: when neither a message nor a heartbeat came for two intervals although a request stands, or the
 * consumer is gone, or the connection was lost and is back, the subscription is rebuilt, with growing pauses while
 * that fails. Thread-safe.
 *
 * <p>Source: ADR 0005.
 */
final class ContinuousPull {
    private static final Logger LOG = LoggerFactory.getLogger(ContinuousPull.class);
    private static final long EXPIRES_NS = TimeUnit.SECONDS.toNanos(20);
    private static final long HEARTBEAT_NS = TimeUnit.SECONDS.toNanos(1);
    private static final long BACKOFF_FIRST_MS = 50;
    private static final long BACKOFF_LAST_MS = 2000;
    private static final Duration STOP_TIMEOUT = Duration.ofSeconds(2);

    private final Connection connection;
    private final String subject;
    private final String label;
    private final Consumer<Message> onMessage;
    private final Callable<?> ensure;
    private final ScheduledExecutorService upkeep;
    private final Dispatcher dispatcher;

    private Subscription subscription;
    private String inbox = "";
    private int credit;
    private int standing;
    private int held;
    private int failures;
    private long heardNs = System.nanoTime();
    private long checkedNs = System.nanoTime();
    private boolean stopping;
    private ScheduledFuture<?> rebuilding;

    /**
     * Makes a pull that is not started.
     *
     * @param onMessage called with each message, in order, on the connection's thread; the message counts against
     *     the credit until it is released
     * @param ensure makes the consumer where it is missing; called when it seems to be gone, until it succeeds
     * @param upkeep runs what may block
     */
    ContinuousPull(
            Connection connection,
            ModelConsumer consumer,
            int credit,
            Consumer<Message> onMessage,
            Callable<?> ensure,
            ScheduledExecutorService upkeep) {
        this.connection = connection;
        this.subject = "$JS.API.CONSUMER.MSG.NEXT." + consumer.stream + "." + consumer.name;
        this.label = consumer.stream + "/" + consumer.name;
        this.credit = credit;
        this.onMessage = onMessage;
        this.ensure = ensure;
        this.upkeep = upkeep;
        this.dispatcher = connection.createDispatcher();
    }

    /** Subscribes and asks for the first messages. */
    synchronized void start() {
        subscribe();
    }

    /** Messages that may be on their way or unprocessed at one time. */
    synchronized int credit() {
        return credit;
    }

    /** Changes the credit; counts from the next request on. */
    synchronized void credit(int messages) {
        credit = messages;
    }

    /** Gives back the credit of processed messages and asks for more. */
    synchronized void release(int count) {
        held -= count;
        renew();
    }

    /** Subscribes anew: pull requests do not survive a reconnection. */
    synchronized void onReconnected() {
        failures = 0;
        if (rebuilding != null) {
            rebuilding.cancel(false);
            rebuilding = null;
        }
        rebuild("reconnected", false);
    }

    /** The liveness rule; called by a timer at least twice in a heartbeat. */
    synchronized void check() {
        long now = System.nanoTime();
        boolean late = now - checkedNs > HEARTBEAT_NS;
        checkedNs = now;
        if (late || connection.getStatus() != Connection.Status.CONNECTED) {
            // This process was stopped, or the server is away: what came meanwhile has not been read yet.
            heardNs = now;
            return;
        }
        if (rebuilding != null || subscription == null) {
            return;
        }
        if (standing == 0) {
            renew();
        } else if (now - heardNs > 2 * HEARTBEAT_NS) {
            rebuild("nothing heard for " + TimeUnit.NANOSECONDS.toMillis(now - heardNs) + " ms", true);
        }
    }

    /** Asks for nothing more; what is still on its way goes back to the consumer at once (P30). */
    void stop() throws InterruptedException {
        synchronized (this) {
            stopping = true;
            if (rebuilding != null) {
                rebuilding.cancel(false);
            }
        }
        try {
            dispatcher.drain(STOP_TIMEOUT).get(STOP_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS);
        } catch (ExecutionException | TimeoutException | IllegalStateException error) {
            LOG.debug("pull {}: unsubscribed without the server's word: {}", label, error.toString());
        }
    }

    private void subscribe() {
        inbox = connection.createInbox();
        standing = 0;
        heardNs = System.nanoTime();
        String current = inbox;
        subscription = dispatcher.subscribe(inbox, message -> receive(message, current));
        int free = credit - held;
        if (free > 1) {
            // One half runs out earlier, and so they stay apart: a request is always standing.
            request(free / 2, EXPIRES_NS / 2);
        }
        request(credit - held - standing, EXPIRES_NS);
    }

    /** Asks for what credit allows, once half of it is free: fewer requests than one for each message. */
    private void renew() {
        int free = credit - held - standing;
        if (free * 2 >= credit || free > 0 && standing == 0) {
            request(free, EXPIRES_NS);
        }
    }

    private void request(int batch, long expiresNs) {
        if (batch < 1 || stopping || rebuilding != null || subscription == null) {
            return;
        }
        if (connection.getStatus() != Connection.Status.CONNECTED) {
            return;
        }
        if (standing == 0) {
            heardNs = System.nanoTime();
        }
        standing += batch;
        String payload =
                "{\"batch\":" + batch + ",\"expires\":" + expiresNs + ",\"idle_heartbeat\":" + HEARTBEAT_NS + "}";
        connection.publish(subject, inbox, payload.getBytes(StandardCharsets.UTF_8));
    }

    private void receive(Message message, String from) {
        synchronized (this) {
            heardNs = System.nanoTime();
            if (message.isStatusMessage()) {
                if (!stopping && from.equals(inbox)) {
                    takeStatus(message);
                }
                return;
            }
            if (stopping) {
                connection.publish(message.getReplyTo(), Settlement.NAK);
                return;
            }
            failures = 0;
            standing = Math.max(0, standing - 1);
            held++;
        }
        onMessage.accept(message);
    }

    private void takeStatus(Message message) {
        int code = message.getStatus().getCode();
        String description = String.valueOf(message.getStatus().getMessage());
        if (code == 100) {
            failures = 0;
        } else if (code == 404 || code == 408 || description.contains("Batch Completed")) {
            standing = Math.max(0, standing - pendingOf(message.getHeaders()));
            renew();
        } else {
            rebuild(code + " " + description, code == 503 || description.contains("Consumer Deleted"));
        }
    }

    /** Messages that the ended request had still asked for. */
    private int pendingOf(Headers headers) {
        String pending = headers == null ? null : headers.getFirst("Nats-Pending-Messages");
        return pending == null ? standing : Integer.parseInt(pending);
    }

    private void rebuild(String reason, boolean isGone) {
        if (rebuilding != null || stopping) {
            return;
        }
        long pauseMs = nextPauseMs();
        if (failures < 2) {
            LOG.info("pull {}: {}; subscribing again", label, reason);
        } else {
            LOG.warn("pull {}: {}; subscribing again in {} ms", label, reason, pauseMs);
        }
        if (subscription != null) {
            dispatcher.unsubscribe(subscription);
            subscription = null;
        }
        schedule(isGone, pauseMs);
    }

    private void schedule(boolean isGone, long pauseMs) {
        rebuilding = upkeep.schedule(() -> rebuildNow(isGone), pauseMs, TimeUnit.MILLISECONDS);
    }

    private void rebuildNow(boolean isGone) {
        if (isGone) {
            try {
                ensure.call();
            } catch (Exception error) {
                LOG.warn("pull {}: the consumer is not there ({})", label, error.getMessage());
                synchronized (this) {
                    if (!stopping) {
                        schedule(true, nextPauseMs());
                    }
                }
                return;
            }
        }
        synchronized (this) {
            rebuilding = null;
            if (!stopping && subscription == null) {
                subscribe();
            }
        }
    }

    /** Nothing at first, then doubling from 50 ms to 2 s, give or take a quarter. */
    private long nextPauseMs() {
        failures++;
        if (failures == 1) {
            return 0;
        }
        long pauseMs = Math.min(BACKOFF_FIRST_MS << Math.min(failures - 2, 10), BACKOFF_LAST_MS);
        return Math.round(pauseMs * ThreadLocalRandom.current().nextDouble(0.75, 1.25));
    }
}
