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

    ModelConsumer(Connection connection, ServeOptions options) throws IOException {
        this.stream = Names.durableStream(options.endpoint());
        this.name = Names.consumerName(options.name(), options.version());
        this.options = options;
        this.connection = connection;
        this.management = connection.jetStreamManagement(
                JetStreamOptions.builder().requestTimeout(REQUEST_TIMEOUT).build());
    }

    /** Makes the consumer, or brings its ack_wait and max_deliver in line. */
    void ensure() throws IOException, JetStreamApiException {
        ConsumerConfiguration found;
        try {
            found = management.getConsumerInfo(stream, name).getConsumerConfiguration();
        } catch (JetStreamApiException error) {
            if (error.getApiErrorCode() != CONSUMER_NOT_FOUND) {
                throw error;
            }
            management.addOrUpdateConsumer(stream, wanted());
            LOG.info("made consumer {} of stream {}", name, stream);
            return;
        }
        if (!options.ackWait().equals(found.getAckWait()) || found.getMaxDeliver() != Names.MAX_DELIVER) {
            ConsumerConfiguration changed = ConsumerConfiguration.builder(found)
                    .ackWait(options.ackWait())
                    .maxDeliver(Names.MAX_DELIVER)
                    .build();
            management.addOrUpdateConsumer(stream, changed);
            LOG.info("consumer {}: ack_wait is now {}", name, Durations.text(options.ackWait()));
        }
    }

    /** Calls ensure until it succeeds, saying what is waited for; ends early when closing is counted down. */
    void waitUntilEnsured(CountDownLatch closing) throws InterruptedException {
        long pauseMs = FIRST_PAUSE_MS;
        long loggedAt = System.nanoTime() - REPEAT_LOG_NS;
        while (true) {
            try {
                ensure();
                return;
            } catch (IOException | JetStreamApiException | IllegalStateException error) {
                if (System.nanoTime() - loggedAt >= REPEAT_LOG_NS) {
                    loggedAt = System.nanoTime();
                    LOG.warn("waiting for stream {} ({})", stream, reason(error));
                }
            }
            if (closing.await(pauseMs, TimeUnit.MILLISECONDS) || connection.getStatus() == Connection.Status.CLOSED) {
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
                .filterSubject(Names.inputSubject(options.endpoint()))
                .maxAckPending(Names.MAX_ACK_PENDING)
                .build();
    }

    private String reason(Exception error) {
        if (error instanceof JetStreamApiException refusal && refusal.getApiErrorCode() == STREAM_NOT_FOUND) {
            return "a router makes it when endpoint " + options.endpoint() + " is applied";
        }
        return error.getMessage();
    }
}
