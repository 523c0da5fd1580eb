package io.rendezvous.internal;

import io.nats.client.Connection;
import io.nats.client.JetStreamApiException;
import io.nats.client.JetStreamManagement;
import io.nats.client.JetStreamOptions;
import io.nats.client.api.AckPolicy;
import io.nats.client.api.ConsumerConfiguration;
import io.nats.client.api.ConsumerInfo;
import io.nats.client.api.DeliverPolicy;
import io.rendezvous.ServeOptions;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The durable pull consumer that all replicas of one model version share (P20), and the broker's clock (P71). */
final class ModelConsumer {
    private static final Logger LOG = LoggerFactory.getLogger(ModelConsumer.class);
    private static final Duration REQUEST_TIMEOUT = Duration.ofSeconds(2);
    private static final int CONSUMER_NOT_FOUND = 10014;
    private static final int STREAM_NOT_FOUND = 10059;
    private static final long FIRST_PAUSE_MS = 100;
    private static final long LAST_PAUSE_MS = 2000;
    private static final long REPEAT_LOG_NS = TimeUnit.SECONDS.toNanos(15);

    final String stream;
    final String name;
    private final Connection connection;
    private final JetStreamManagement management;
    private final ServeOptions options;
    private final boolean keyed;
    private volatile Duration ackWait;

    ModelConsumer(Connection connection, ServeOptions options) {
        this.stream = Names.durableStream(options.endpoint());
        this.name = Names.consumerName(options.name(), options.version());
        this.options = options;
        this.keyed =
                options.credentials().key() != null || options.credentials().keyFile() != null;
        this.connection = connection;
        this.ackWait = options.ackWait();
        try {
            this.management = connection.jetStreamManagement(
                    JetStreamOptions.builder().requestTimeout(REQUEST_TIMEOUT).build());
        } catch (IOException error) {
            throw new UncheckedIOException("jnats declares it and makes no call here", error);
        }
    }

    /** Whether this program has a key, and so may do only what a model must. */
    boolean isKeyed() {
        return keyed;
    }

    /** Silence after which a parcel goes to another replica: as the consumer is configured (P112). */
    Duration ackWait() {
        return ackWait;
    }

    /** Subject of the question what the consumer is. */
    String infoSubject() {
        return "$JS.API.CONSUMER.INFO." + stream + "." + name;
    }

    /**
     * Makes the consumer, or brings what it reads, ack_wait and max_deliver in line; with a key it may do neither (P111), as the
     * router has made it.
     */
    void ensure() throws IOException, JetStreamApiException {
        ConsumerConfiguration found;
        try {
            found = management.getConsumerInfo(stream, name).getConsumerConfiguration();
        } catch (JetStreamApiException error) {
            if (keyed || error.getApiErrorCode() != CONSUMER_NOT_FOUND) {
                throw error;
            }
            management.addOrUpdateConsumer(stream, wanted());
            LOG.info("made consumer {} of stream {}", name, stream);
            return;
        }
        if (options.ackWait().equals(found.getAckWait())
                && found.getMaxDeliver() == Names.MAX_DELIVER
                && options.subject().equals(found.getFilterSubject())) {
            return;
        }
        if (keyed) {
            keepTo(found);
            return;
        }
        ConsumerConfiguration changed = ConsumerConfiguration.builder(found)
                .ackWait(options.ackWait())
                .maxDeliver(Names.MAX_DELIVER)
                .filterSubject(options.subject())
                .build();
        management.addOrUpdateConsumer(stream, changed);
        LOG.info("consumer {}: reads {}, ack_wait {}", name, options.subject(), Durations.text(options.ackWait()));
    }

    private void keepTo(ConsumerConfiguration found) {
        ackWait = found.getAckWait();
        LOG.warn(
                "consumer {} reads {} with ack_wait {} and max_deliver {} instead of {} with {} and {}: going on with"
                        + " that, as a program with a key may not change it",
                name,
                found.getFilterSubject(),
                Durations.text(ackWait),
                found.getMaxDeliver(),
                options.subject(),
                Durations.text(options.ackWait()),
                Names.MAX_DELIVER);
    }

    /**
     * Calls ensure until it succeeds, saying what is waited for; ends early when closing is counted down.
     *
     * @param meanwhile called before each pause
     * @return false: the connection was closed for good
     */
    boolean waitUntilEnsured(CountDownLatch closing, Runnable meanwhile) throws InterruptedException {
        long pauseMs = FIRST_PAUSE_MS;
        long loggedAt = System.nanoTime() - REPEAT_LOG_NS;
        String lastReason = "";
        while (true) {
            try {
                ensure();
                return true;
            } catch (IOException | JetStreamApiException | IllegalStateException error) {
                String reason = reason(error);
                if (!reason.equals(lastReason) || System.nanoTime() - loggedAt >= REPEAT_LOG_NS) {
                    loggedAt = System.nanoTime();
                    lastReason = reason;
                    LOG.warn("waiting for consumer {} of stream {} ({})", name, stream, reason);
                }
            }
            if (connection.getStatus() == Connection.Status.CLOSED) {
                return false;
            }
            meanwhile.run();
            if (closing.await(pauseMs, TimeUnit.MILLISECONDS)) {
                throw new InterruptedException("closed while waiting for the stream");
            }
            pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS);
        }
    }

    /** Returns the broker's present time. */
    Instant brokerTime() throws IOException, JetStreamApiException {
        ConsumerInfo info = management.getConsumerInfo(stream, name);
        if (info.getTimestamp() == null) {
            throw new IOException("the server's answer has no time");
        }
        return info.getTimestamp().toInstant();
    }

    private ConsumerConfiguration wanted() {
        return ConsumerConfiguration.builder()
                .durable(name)
                .deliverPolicy(DeliverPolicy.New)
                .ackPolicy(AckPolicy.Explicit)
                .ackWait(options.ackWait())
                .maxDeliver(Names.MAX_DELIVER)
                .filterSubject(options.subject())
                .maxAckPending(Names.MAX_ACK_PENDING)
                .build();
    }

    private String reason(Exception error) {
        int code = error instanceof JetStreamApiException refusal ? refusal.getApiErrorCode() : 0;
        if (code == STREAM_NOT_FOUND) {
            return "a router makes the stream when endpoint " + options.endpoint() + " is applied";
        }
        if (code == CONSUMER_NOT_FOUND) {
            return "a router makes the consumer of a model with a key, once endpoint " + options.endpoint()
                    + " names model " + options.name();
        }
        if (keyed && error instanceof IOException) {
            return "no answer: may this program's key read it, and is JetStream there?";
        }
        return error.getMessage();
    }
}
