package io.rendezvous;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/** Scores one large table in chunks, so many at a time. Guarded by its own lock. */
final class TableCall {
    private static final int MOST_OPEN = 8;

    /** After these the next chunk would fail the same way: it is not sent. */
    private static final Set<ErrorCode> ENDING = EnumSet.of(
            ErrorCode.UNAUTHENTICATED,
            ErrorCode.PERMISSION_DENIED,
            ErrorCode.UNKNOWN_ENDPOINT,
            ErrorCode.UNKNOWN_MODEL,
            ErrorCode.UNIMPLEMENTED,
            ErrorCode.UNAVAILABLE);

    private final Frame table;
    private final int chunkRows;
    private final Function<Frame, CompletableFuture<Answer>> score;
    private final TableProgress progress;
    private final ScoredTable.Chunk[] chunks;
    private final Set<CompletableFuture<Answer>> open = new HashSet<>();
    private final CompletableFuture<ScoredTable> result = new CompletableFuture<>();
    private int next;
    private int done;
    private int failed;
    private boolean sending;
    private RendezvousException ending;

    TableCall(Frame table, int chunkRows, Function<Frame, CompletableFuture<Answer>> score, TableProgress progress) {
        if (chunkRows < 1) {
            throw new InvalidRequestException(
                    "chunk rows is " + chunkRows + ": it must be more than 0",
                    Map.of("option", "chunk rows", "actual", chunkRows));
        }
        this.table = table;
        this.chunkRows = chunkRows;
        this.score = score;
        this.progress = progress;
        this.chunks = new ScoredTable.Chunk[Math.max(1, (int) (((long) table.rows() + chunkRows - 1) / chunkRows))];
    }

    CompletableFuture<ScoredTable> start() {
        result.whenComplete((scored, error) -> {
            if (error != null) {
                cancelOpen();
            }
        });
        tell();
        send();
        return result;
    }

    private synchronized void send() {
        if (sending) {
            return; // an answer that was there at once: the loop below goes on
        }
        sending = true;
        try {
            while (next < chunks.length && open.size() < MOST_OPEN && ending == null && !result.isDone()) {
                sendOne(next++);
            }
        } catch (RuntimeException error) {
            result.completeExceptionally(error);
        } finally {
            sending = false;
        }
        if (open.isEmpty()) {
            finish();
        }
    }

    private void sendOne(int index) {
        CompletableFuture<Answer> answer = score.apply(table.slice(start(index), stop(index)));
        open.add(answer);
        answer.whenComplete((came, error) -> arrived(index, answer, came, error));
    }

    private synchronized void arrived(int index, CompletableFuture<Answer> future, Answer answer, Throwable error) {
        open.remove(future);
        if (result.isDone()) {
            return;
        }
        RendezvousException failure = error == null ? flaw(answer, stop(index) - start(index)) : typed(error);
        put(index, failure == null ? answer : null, failure);
        if (failure != null && ENDING.contains(failure.code())) {
            ending = failure;
        }
        tell();
        send();
    }

    private void put(int index, Answer answer, RendezvousException failure) {
        int rows = stop(index) - start(index);
        chunks[index] = new ScoredTable.Chunk(start(index), stop(index), answer, failure);
        done += rows;
        failed += failure == null ? 0 : rows;
    }

    private void finish() {
        if (result.isDone()) {
            return;
        }
        if (next < chunks.length) {
            while (next < chunks.length) {
                put(next++, null, ending);
            }
            tell();
        }
        result.complete(new ScoredTable(Arrays.asList(chunks)));
    }

    private void tell() {
        try {
            progress.onProgress(done, failed, table.rows());
        } catch (RuntimeException error) {
            result.completeExceptionally(error);
        }
    }

    private void cancelOpen() {
        List<CompletableFuture<Answer>> left;
        synchronized (this) {
            left = new ArrayList<>(open);
        }
        left.forEach(answer -> answer.cancel(true));
    }

    private static RendezvousException flaw(Answer answer, int rows) {
        try {
            int actual = answer.frame().rows();
            return actual == rows
                    ? null
                    : new InternalException(
                            "the answer has " + actual + " rows for " + rows,
                            Map.of("expected", rows, "actual", actual));
        } catch (RendezvousException error) {
            return error;
        }
    }

    private static RendezvousException typed(Throwable error) {
        return error instanceof RendezvousException known ? known : new InternalException(String.valueOf(error));
    }

    private int start(int index) {
        return (int) Math.min(table.rows(), (long) index * chunkRows);
    }

    private int stop(int index) {
        return (int) Math.min(table.rows(), (long) (index + 1) * chunkRows);
    }
}
