package io.rendezvous.internal;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.UnsafeByteOperations;
import io.nats.client.Connection;
import io.nats.client.JetStreamApiException;
import io.nats.client.Message;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.RendezvousException;
import io.rendezvous.ServeOptions;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelScore;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves one model from its endpoint's postbox: takes parcels, scores them on the model's thread, publishes the
 * scores, acknowledges.
 */
final class PostboxReader {
    private static final Logger LOG = LoggerFactory.getLogger(PostboxReader.class);
    private static final Duration EARLIER_SCORES = Duration.ofMillis(500);
    private static final Duration LAST_SCORES = Duration.ofSeconds(2);

    private final Connection connection;
    private final ParcelScorer scorer;
    private final ModelThread thread;
    private final ServeOptions options;
    private final Counters counters;
    private final ScheduledExecutorService upkeep;
    private final ModelConsumer consumer;
    private final BrokerClock clock;
    private final ContinuousPull pull;
    private final Settlement settlement;

    private final Object lock = new Object();
    private final WaitingParcels waiting;
    private final List<Waiting> scoring = new ArrayList<>();
    private int batches;
    private boolean stopping;

    PostboxReader(
            Connection connection,
            ParcelScorer scorer,
            ModelThread thread,
            ServeOptions options,
            Counters counters,
            ScheduledExecutorService upkeep) {
        this.connection = connection;
        this.scorer = scorer;
        this.thread = thread;
        this.options = options;
        this.counters = counters;
        this.upkeep = upkeep;
        this.waiting = new WaitingParcels(options.maxJoinedRows());
        this.consumer = new ModelConsumer(connection, options);
        this.clock = new BrokerClock(consumer::brokerTime, System::nanoTime);
        this.settlement = new Settlement(connection, consumer.isKeyed() ? consumer.infoSubject() : null);
        this.pull = new ContinuousPull(connection, consumer, options.credit(), this::take, this::ensure, upkeep);
    }

    /**
     * Waits for the stream and the broker's time, makes the consumer and begins to read.
     *
     * @param meanwhile called now and then while it waits
     * @return false: the connection was closed for good
     */
    boolean start(CountDownLatch closing, Runnable meanwhile) throws InterruptedException {
        if (!consumer.waitUntilEnsured(closing, meanwhile)) {
            return false;
        }
        if (!clock.follow(closing, upkeep, () -> connection.getStatus() == Connection.Status.CLOSED)) {
            return false;
        }
        pull.start();
        return true;
    }

    /** Silence after which a parcel goes to another replica. */
    Duration ackWait() {
        return consumer.ackWait();
    }

    void onReconnected() {
        settlement.onReconnected();
        clock.readSoon(upkeep);
        pull.onReconnected();
    }

    /** Looks after liveness and in-progress signals; called by a timer several times in an ack_wait. */
    void tick() {
        pull.check();
        settlement.check();
        if (connection.getStatus() == Connection.Status.CONNECTED) {
            signalProgress();
        }
    }

    /** Stops reading, gives back what waits, finishes, publishes and acknowledges what is being scored. */
    void stop() throws InterruptedException {
        synchronized (lock) {
            stopping = true;
        }
        pull.stop();
        synchronized (lock) {
            for (Waiting parcel : waiting.drain()) {
                Settlement.send(connection, parcel.reply, Settlement.NAK);
            }
            while (batches > 0) {
                lock.wait();
            }
        }
        settlement.await(LAST_SCORES);
        settlement.close();
    }

    private Void ensure() throws IOException, JetStreamApiException {
        consumer.ensure();
        return null;
    }

    private void take(Message message) {
        Delivery delivery = deliveryOf(message);
        if (delivery == null) {
            Settlement.send(connection, message.getReplyTo(), Settlement.TERMINATE);
            pull.release(1);
            return;
        }
        synchronized (lock) {
            if (stopping) {
                Settlement.send(connection, message.getReplyTo(), Settlement.NAK);
                return;
            }
            waiting.add(new Waiting(message.getReplyTo(), delivery));
            submit();
        }
    }

    private void submit() {
        if (batches == 0 && !waiting.isEmpty()) {
            batches++;
            thread.submit(new Batch(List.of()));
        }
    }

    /** Reads a parcel and its place; null if it is no parcel or one without requests (P15). */
    private Delivery deliveryOf(Message message) {
        long received = Clocks.unixUs();
        AckSubject place = AckSubject.parse(message.getReplyTo());
        Parcel parcel;
        try {
            CodedInputStream input =
                    UnsafeByteOperations.unsafeWrap(message.getData()).newCodedInput();
            input.enableAliasing(true);
            parcel = Parcel.parseFrom(input);
        } catch (IOException error) {
            LOG.error("message {} of {} is no parcel: taken off the postbox", place.sequence(), consumer.stream);
            return null;
        }
        if (parcel.getItemsCount() == 0) {
            LOG.error("parcel {} of {} has no requests: taken off the postbox", place.sequence(), consumer.stream);
            return null;
        }
        long ageUs = clock.unixUs() - place.storedUnixUs();
        return new Delivery(parcel, place.sequence(), place.delivered(), ageUs, received);
    }

    /** One turn of the model's thread: given parcels, or what waits then and may be scored together. */
    private final class Batch implements ModelThread.Work {
        private final AtomicBoolean answered = new AtomicBoolean();
        private volatile List<Waiting> parcels;
        private volatile long started;

        Batch(List<Waiting> parcels) {
            this.parcels = parcels;
        }

        @Override
        public void run() {
            started = Clocks.unixUs();
            if (parcels.isEmpty()) {
                synchronized (lock) {
                    parcels = waiting.isEmpty() ? List.of() : waiting.nextBatch();
                    scoring.addAll(parcels);
                }
            }
            if (!parcels.isEmpty() && parcels.get(0).delivery.number() > 1) {
                settleEarlier();
            }
            long startedNs = System.nanoTime();
            List<ParcelScore> scores = scorer.scoreParcels(deliveries());
            long tookNs = System.nanoTime() - startedNs;
            if (answered.compareAndSet(false, true)) {
                answer(scores);
                pull.credit(Credit.next(pull.credit(), options.credit(), parcels, tookNs));
                pull.release(parcels.size());
            }
        }

        /** The author's code never came back: a parcel that was alone is given up, others are tried each for itself. */
        @Override
        public void abandon(RendezvousException error) {
            if (!answered.compareAndSet(false, true)) {
                return;
            }
            if (parcels.size() == 1) {
                answer(scorer.fail(deliveries(), error, started));
                pull.release(1);
                return;
            }
            synchronized (lock) {
                batches += parcels.size() - 1;
            }
            parcels.forEach(parcel -> thread.submit(new Batch(List.of(parcel))));
        }

        private List<Delivery> deliveries() {
            List<Delivery> deliveries = new ArrayList<>(parcels.size());
            for (Waiting parcel : parcels) {
                deliveries.add(parcel.delivery);
            }
            return deliveries;
        }

        private void answer(List<ParcelScore> scores) {
            for (int index = 0; index < scores.size(); index++) {
                publish(parcels.get(index), scores.get(index));
            }
            settlement.add(parcels);
            synchronized (lock) {
                scoring.removeAll(parcels);
                batches--;
                if (!stopping) {
                    submit();
                }
                lock.notifyAll();
            }
        }
    }

    /** A parcel that came again may end this process: what was answered before must have left by then. */
    private void settleEarlier() {
        try {
            settlement.await(EARLIER_SCORES);
        } catch (InterruptedException error) {
            LOG.debug("interrupted before a parcel that came again");
        }
    }

    private void publish(Waiting parcel, ParcelScore score) {
        Parcel request = parcel.delivery.parcel();
        parcel.publishedIn = settlement.epoch();
        counters.count(score, parcel.delivery.receivedUnixUs());
        try (LogFields fields = new LogFields()) {
            fields.with("parcel_id", request.getParcelId());
            String subject = Names.scoreSubject(options.endpoint(), options.name(), request.getRouter());
            connection.publish(subject, score.toByteArray());
        } catch (IllegalStateException error) {
            parcel.publishedIn = Waiting.NOT_PUBLISHED;
            LOG.warn("score of parcel {} not published, it comes again: {}", request.getParcelId(), error.getMessage());
        } catch (IllegalArgumentException | InvalidRequestException error) {
            // The router is told nothing; it answers by its policy. A redelivery would end the same way.
            LOG.error("score of parcel {} not published: {}", request.getParcelId(), error.getMessage());
        }
    }

    /** Defends what is held against redelivery while the model works (P24). */
    private void signalProgress() {
        List<Waiting> held = settlement.unsettled();
        synchronized (lock) {
            held.addAll(scoring);
            held.addAll(waiting.all());
        }
        long now = System.nanoTime();
        long pauseNs = consumer.ackWait().toNanos() / 3;
        for (Waiting parcel : held) {
            if (now - parcel.signalledNs >= pauseNs) {
                parcel.signalledNs = now;
                Settlement.send(connection, parcel.reply, Settlement.IN_PROGRESS);
            }
        }
    }
}
