package io.rendezvous;

import io.grpc.ChannelCredentials;
import io.opentelemetry.api.OpenTelemetry;
import io.rendezvous.v1.ModelInfo;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * Calls an endpoint, or a model directly, and waits: the same service, another address.
 *
 * <pre>{@code
 * try (Client client = new Client("127.0.0.1:8001", "credit")) {
 *     Frame rows = Frame.builder().fp64("income", 1200.0, 5800.0).build();
 *     double[] risk = client.score(rows).frame().fp64("risk").toArray();
 * }
 * }</pre>
 *
 * <p>Thread-safe; make one and keep it. A thread that is interrupted while it waits gets an
 * {@link UnavailableException}, and its call is cancelled.
 */
public final class Client implements AutoCloseable {
    private final AsyncClient async;
    private volatile ModelInfo info;

    /**
     * Makes a client with the default options: key and TLS as the environment says.
     *
     * @param address {@code host:port} of a router or a model
     * @param endpoint endpoint asked; empty where only one is served
     * @throws InvalidRequestException as {@link #Client(String, String, ClientOptions)}
     */
    public Client(String address, String endpoint) {
        this(address, endpoint, ClientOptions.DEFAULT);
    }

    /**
     * Makes a client; it connects when it is first used.
     *
     * @param address {@code host:port} of a router or a model
     * @param endpoint endpoint asked; empty where only one is served
     * @param options deadlines, pauses, limits, key and TLS
     * @throws InvalidRequestException the address is not {@code host:port}, a file of key or TLS cannot be used, or the
     *     key would go to another machine in the clear
     */
    public Client(String address, String endpoint, ClientOptions options) {
        this(address, endpoint, options, null, null);
    }

    /**
     * Makes a client with gRPC credentials of its own; it connects when it is first used.
     *
     * @param address {@code host:port} of a router or a model
     * @param endpoint endpoint asked; empty where only one is served
     * @param options deadlines, pauses, limits, key
     * @param credentials of the connection; the options' TLS does not count
     * @throws InvalidRequestException as {@link #Client(String, String, ClientOptions)}
     */
    public Client(String address, String endpoint, ClientOptions options, ChannelCredentials credentials) {
        this(address, endpoint, options, credentials, null);
    }

    /**
     * Makes a client that draws its spans with a given OpenTelemetry; it connects when it is first used.
     *
     * @param address {@code host:port} of a router or a model
     * @param endpoint endpoint asked; empty where only one is served
     * @param options deadlines, pauses, limits, key and TLS
     * @param credentials of the connection; null: as the options say
     * @param telemetry the SDK; null: the global one, if one was set when a call is made
     * @throws InvalidRequestException as {@link #Client(String, String, ClientOptions)}
     */
    public Client(
            String address,
            String endpoint,
            ClientOptions options,
            ChannelCredentials credentials,
            OpenTelemetry telemetry) {
        this.async = new AsyncClient(address, endpoint, options, credentials, telemetry);
    }

    /**
     * What the endpoint says of itself; asked once, then remembered.
     *
     * @return name, version, signature and more
     * @throws RendezvousException the leaf class of whatever went wrong
     */
    public ModelInfo describe() {
        if (info == null) {
            info = await(async.describe());
        }
        return info;
    }

    /**
     * Scores rows.
     *
     * @param inputs the rows
     * @return the answer, one row for each row sent
     * @throws NoAnswerException no answer by the deadline
     * @throws RendezvousException the leaf class of whatever else went wrong
     */
    public Answer score(Frame inputs) {
        return score(inputs, ScoreOptions.NONE);
    }

    /**
     * Scores rows; sends them again, with the same request id, after UNAVAILABLE and OVERLOADED while there is time.
     *
     * @param inputs the rows
     * @param request what the request says beside them
     * @return the answer, one row for each row sent
     * @throws NoAnswerException no answer by the deadline
     * @throws RendezvousException the leaf class of whatever else went wrong
     */
    public Answer score(Frame inputs, ScoreOptions request) {
        return await(async.score(inputs, request));
    }

    /**
     * Scores rows without waiting.
     *
     * @param inputs the rows
     * @return a future of the answer; see {@link AsyncClient#score(Frame)}
     */
    public CompletableFuture<Answer> scoreAsync(Frame inputs) {
        return async.score(inputs);
    }

    /**
     * Scores rows without waiting.
     *
     * @param inputs the rows
     * @param request what the request says beside them
     * @return a future of the answer; see {@link AsyncClient#score(Frame, ScoreOptions)}
     */
    public CompletableFuture<Answer> scoreAsync(Frame inputs, ScoreOptions request) {
        return async.score(inputs, request);
    }

    /**
     * Scores many tables over one call; no more than {@link ClientOptions#maxStreamed} are unanswered at a time.
     *
     * @param tables each becomes a request; read on the client's threads, as answers come
     * @return the answers, in the order of the tables, of which one that failed has an error; its methods throw the
     *     leaf class of what ended the stream as a whole. Streams are not retried. Take all of them: an answer that is
     *     not taken holds the stream up
     */
    public Iterator<Answer> stream(Iterable<Frame> tables) {
        return new Answers(tables);
    }

    /**
     * Scores a large table in chunks, some at a time over one connection; each is a request of its own, with its own
     * deadline, sent again as {@link #score(Frame, ScoreOptions)} does.
     *
     * <pre>{@code
     * ScoredTable scored = client.scoreTable(applicants, 1000, ProgressBar.onTerminal());
     * double[] risk = scored.frame().fp64("risk").toArray();
     * }</pre>
     *
     * @param table any number of rows
     * @param chunkRows rows of one request, 1 or more; the last may have fewer
     * @param progress is told how far it has come; {@link ProgressBar#onTerminal} shows it
     * @return all chunks in the order of the rows, also where some or all have failed; see
     *     {@link AsyncClient#scoreTable(Frame, int, TableProgress)}
     * @throws InvalidRequestException the number of rows is not positive
     */
    public ScoredTable scoreTable(Frame table, int chunkRows, TableProgress progress) {
        return scoreTable(table, chunkRows, progress, ScoreOptions.NONE);
    }

    /**
     * Scores a large table in chunks; see {@link #scoreTable(Frame, int, TableProgress)}.
     *
     * @param table any number of rows
     * @param chunkRows rows of one request, 1 or more
     * @param progress is told how far it has come
     * @param request what each request says beside its rows; without a request id, as there are many
     * @return all chunks in the order of the rows
     * @throws InvalidRequestException the number of rows is not positive, or there is a request id
     */
    public ScoredTable scoreTable(Frame table, int chunkRows, TableProgress progress, ScoreOptions request) {
        return await(async.scoreTable(table, chunkRows, progress, request));
    }

    /**
     * Reports what turned out to be true: all outcomes are kept, or none.
     *
     * @param outcomes 1 to 10,000
     * @return their ids, in their order, once they are on disk
     * @throws RendezvousException as {@link #record(List, Duration)}
     */
    public List<String> record(List<Outcome> outcomes) {
        return record(outcomes, null);
    }

    /**
     * Reports what turned out to be true: all outcomes are kept, or none. Sent again, with the same ids, after
     * UNAVAILABLE and OVERLOADED while there is time; each counts once.
     *
     * @param outcomes 1 to 10,000
     * @param timeout deadline, retries included; null: the client's default
     * @return their ids, in their order, once they are on disk
     * @throws InvalidRequestException some are wrong, and none was kept; its attributes {@code outcome.<i>} say what is
     * @throws UnavailableException it is not known whether they were kept: record the same ones again
     * @throws RendezvousException the leaf of whatever else went wrong
     */
    public List<String> record(List<Outcome> outcomes, Duration timeout) {
        return await(async.record(outcomes, timeout));
    }

    /** Closes the connection; calls under way end with UNAVAILABLE. */
    @Override
    public void close() {
        async.close();
    }

    private static <T> T await(CompletableFuture<T> future) {
        try {
            return future.get();
        } catch (InterruptedException error) {
            future.cancel(true);
            throw interrupted();
        } catch (ExecutionException error) {
            throw asRuntime(error.getCause());
        }
    }

    private static RuntimeException asRuntime(Throwable cause) {
        if (cause instanceof RuntimeException error) {
            error.addSuppressed(new Throwable("waited for here"));
            return error;
        }
        return new InternalException(String.valueOf(cause));
    }

    private static UnavailableException interrupted() {
        Thread.currentThread().interrupt();
        return new UnavailableException("interrupted while waiting for the answer");
    }

    /** Answers of a stream: a queue between the client's threads and the caller's. */
    private final class Answers implements Iterator<Answer> {
        private final Object end = new Object();
        private final BlockingQueue<Object> queue;
        private final CompletableFuture<Void> done;
        private Object next;

        Answers(Iterable<Frame> tables) {
            queue = new ArrayBlockingQueue<>(async.options().maxStreamed() + 1);
            done = async.stream(tables, this::put);
            done.whenComplete((nothing, error) -> put(end));
        }

        @Override
        public boolean hasNext() {
            if (next == null) {
                try {
                    next = queue.take();
                } catch (InterruptedException error) {
                    done.completeExceptionally(error);
                    throw interrupted();
                }
            }
            if (next == end) {
                await(done);
                return false;
            }
            return true;
        }

        @Override
        public Answer next() {
            if (!hasNext()) {
                throw new NoSuchElementException("the stream has ended");
            }
            Answer answer = (Answer) next;
            next = null;
            return answer;
        }

        private void put(Object item) {
            try {
                queue.put(item);
            } catch (InterruptedException error) {
                throw interrupted();
            }
        }
    }
}
