package io.rendezvous;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Server;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import io.rendezvous.internal.GrpcErrors;
import io.rendezvous.v1.ScoreGrpc;
import io.rendezvous.v1.ScoreReply;
import io.rendezvous.v1.ScoreRequest;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Large tables, before a server that doubles each value and fails as told, some chunks sooner than others. */
@Timeout(30)
class TableTest {
    private final Queue<String> ids = new ConcurrentLinkedQueue<>();
    private final Map<Long, ErrorCode> failures = new ConcurrentHashMap<>();
    private final Map<Long, ErrorCode> failuresOnce = new ConcurrentHashMap<>();
    private final ExecutorService pool = Executors.newFixedThreadPool(4);
    private volatile CountDownLatch gate = new CountDownLatch(0);
    private Server server;
    private Client client;

    private final ScoreGrpc.ScoreImplBase service = new ScoreGrpc.ScoreImplBase() {
        @Override
        public void score(ScoreRequest request, StreamObserver<ScoreReply> observer) {
            ids.add(request.getRequestId());
            long[] values = Frame.of(request.getInputs()).int64("x").toArray();
            long first = values.length == 0 ? 0 : values[0];
            ErrorCode once = failuresOnce.remove(first);
            ErrorCode failure = once != null ? once : failures.get(first);
            pool.execute(() -> answer(request, values, failure, observer));
        }
    };

    private void answer(ScoreRequest request, long[] values, ErrorCode failure, StreamObserver<ScoreReply> observer) {
        try {
            gate.await();
        } catch (InterruptedException error) {
            return;
        }
        if (failure != null) {
            observer.onError(GrpcErrors.toStatus(RendezvousException.of(failure, "told so", Map.of())));
            return;
        }
        Frame doubled = Frame.builder()
                .int64(
                        "y",
                        IntStream.range(0, values.length)
                                .mapToLong(row -> 2 * values[row])
                                .toArray())
                .build();
        observer.onNext(ScoreReply.newBuilder()
                .setRequestId(request.getRequestId())
                .setOutputs(doubled.toProto())
                .build());
        observer.onCompleted();
    }

    @BeforeEach
    void start() throws IOException {
        server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
                .addService(service)
                .build()
                .start();
        client = new Client("127.0.0.1:" + server.getPort(), "e");
    }

    @AfterEach
    void stop() {
        client.close();
        server.shutdownNow();
        pool.shutdownNow();
    }

    private static Frame table(int rows) {
        return Frame.builder()
                .int64("x", IntStream.range(0, rows).mapToLong(row -> row).toArray())
                .build();
    }

    /** All rows come back in their order, whatever the size of the chunks; progress ends with all of them. */
    @ParameterizedTest
    @CsvSource({"1,1,1", "1,1000,1", "1000,7,143", "1000,1000,1", "1001,1000,2", "0,5,1"})
    void scoresAllRows(int rows, int chunkRows, int chunks) {
        List<Integer> told = Collections.synchronizedList(new ArrayList<>());
        ScoredTable scored = client.scoreTable(table(rows), chunkRows, (done, failed, total) -> {
            assertEquals(0, failed);
            assertEquals(rows, total);
            told.add(done);
        });
        long[] expected = IntStream.range(0, rows).mapToLong(row -> 2L * row).toArray();
        assertArrayEquals(expected, scored.frame().int64("y").toArray());
        assertEquals(chunks, scored.chunks().size());
        assertEquals(chunks, new java.util.HashSet<>(ids).size());
        assertEquals(0, told.get(0));
        assertEquals(rows, told.get(told.size() - 1));
        assertEquals(told.stream().sorted().toList(), told);
    }

    /** What failed is told with its rows; the rest is scored, and the table as a whole is refused. */
    @Test
    void tellsWhatFailed() {
        failures.putAll(Map.of(20L, ErrorCode.MODEL_FAILED, 50L, ErrorCode.TOO_LARGE));
        Map<Integer, Integer> last = new HashMap<>();
        ScoredTable scored = client.scoreTable(table(95), 10, (done, failed, total) -> last.put(done, failed));
        List<ScoredTable.Chunk> failed = scored.failures();
        assertEquals(
                List.of(20, 50), failed.stream().map(ScoredTable.Chunk::start).toList());
        assertEquals(
                List.of(30, 60), failed.stream().map(ScoredTable.Chunk::stop).toList());
        assertEquals(ErrorCode.TOO_LARGE, failed.get(1).error().code());
        assertEquals(20, last.get(95));
        assertEquals(180, scored.chunks().get(9).answer().frame().int64("y").get(0));
        ModelFailedException error = assertThrows(ModelFailedException.class, scored::frame);
        assertTrue(error.getMessage().startsWith("rows 20 to 29 failed (told so), 2 of 10 chunks"), error.getMessage());
        assertEquals("20", error.attributes().get("start"));
        assertEquals("30", error.attributes().get("stop"));
    }

    /** A chunk whose error is retryable is sent again with its id. */
    @Test
    void repeatsChunks() {
        failuresOnce.putAll(Map.of(0L, ErrorCode.UNAVAILABLE, 30L, ErrorCode.OVERLOADED));
        assertEquals(
                40, client.scoreTable(table(40), 10, TableProgress.NONE).frame().rows());
        assertEquals(6, ids.size());
        assertEquals(4, new java.util.HashSet<>(ids).size());
    }

    /** After an error that every chunk would meet no more are sent; all rows are told. */
    @ParameterizedTest
    @EnumSource(names = {"UNAUTHENTICATED", "PERMISSION_DENIED", "UNKNOWN_ENDPOINT", "UNIMPLEMENTED"})
    void endsEarly(ErrorCode code) {
        IntStream.range(0, 100).forEach(row -> failures.put((long) row, code));
        int[] last = new int[2];
        ScoredTable scored = client.scoreTable(table(100), 1, (done, failed, total) -> {
            last[0] = done;
            last[1] = failed;
        });
        assertEquals(100, scored.failures().size());
        assertTrue(ids.size() < 20, ids.size() + " were sent");
        assertEquals(
                code, assertThrows(RendezvousException.class, scored::frame).code());
        assertArrayEquals(new int[] {100, 100}, last);
    }

    /** No more than eight chunks are on their way at one time; cancelling ends them all. */
    @Test
    void sendsSomeAtATime() throws Exception {
        gate = new CountDownLatch(1);
        try (AsyncClient async = new AsyncClient("127.0.0.1:" + server.getPort(), "e")) {
            CompletableFuture<ScoredTable> future = async.scoreTable(table(100), 1, TableProgress.NONE);
            while (ids.size() < 8) {
                Thread.onSpinWait();
            }
            client.scoreAsync(table(1)); // a ninth that reached the server after what was sent before
            while (ids.size() < 9) {
                Thread.onSpinWait();
            }
            assertTrue(future.cancel(true));
            assertThrows(CancellationException.class, future::join);
            gate.countDown();
            assertEquals(
                    2,
                    client.scoreTable(table(2), 1, TableProgress.NONE).chunks().size());
            assertEquals(11, ids.size());
        }
    }

    /** What the listener throws ends the scoring, with it. */
    @Test
    void endsWithTheListenersError() {
        assertThrows(
                IllegalStateException.class,
                () -> client.scoreTable(table(100), 1, (done, failed, total) -> {
                    if (done == 3) {
                        throw new IllegalStateException("enough");
                    }
                }));
        assertTrue(ids.size() < 20, ids.size() + " were sent");
    }

    /** Chunks without rows and one id for all are refused. */
    @Test
    void refuses() {
        assertThrows(InvalidRequestException.class, () -> client.scoreTable(table(1), 0, TableProgress.NONE));
        ScoreOptions named = ScoreOptions.NONE.withRequestId("mine");
        assertThrows(InvalidRequestException.class, () -> client.scoreTable(table(1), 1, TableProgress.NONE, named));
        assertFalse(ids.contains("mine"));
    }
}
