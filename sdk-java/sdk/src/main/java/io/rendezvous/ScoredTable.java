package io.rendezvous;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What came of a large table: its chunks, in the order of the rows, each answered or failed.
 *
 * <p>Immutable and thread-safe.
 */
public final class ScoredTable {
    private final List<Chunk> chunks;

    ScoredTable(List<Chunk> chunks) {
        this.chunks = List.copyOf(chunks);
    }

    /**
     * Some rows of the table, sent as one request.
     *
     * @param start its first row in the table, from 0
     * @param stop the row after its last
     * @param answer what came; null where it failed
     * @param error why it failed; null where it was answered
     */
    public record Chunk(int start, int stop, Answer answer, RendezvousException error) {}

    /**
     * All chunks.
     *
     * @return in the order of the rows, without gaps
     */
    public List<Chunk> chunks() {
        return chunks;
    }

    /**
     * The chunks that failed.
     *
     * @return in the order of the rows; empty where all were answered
     */
    public List<Chunk> failures() {
        return chunks.stream().filter(chunk -> chunk.error() != null).toList();
    }

    /**
     * The rows of all answers.
     *
     * @return one row for each row of the table, in that order
     * @throws RendezvousException a chunk failed: of the class of the first failure, with the attributes {@code start},
     *     {@code stop} and {@code failed_chunks}; {@link #chunks} has what was answered all the same
     */
    public Frame frame() {
        List<Chunk> failures = failures();
        if (!failures.isEmpty()) {
            throw failure(failures);
        }
        return Frame.join(chunks.stream().map(chunk -> chunk.answer().frame()).toList());
    }

    private RendezvousException failure(List<Chunk> failures) {
        Chunk first = failures.get(0);
        Map<String, String> attributes = new TreeMap<>(first.error().attributes());
        attributes.put("start", String.valueOf(first.start()));
        attributes.put("stop", String.valueOf(first.stop()));
        attributes.put("failed_chunks", String.valueOf(failures.size()));
        RendezvousException error = RendezvousException.of(
                first.error().code(),
                "rows " + first.start() + " to " + (first.stop() - 1) + " failed ("
                        + first.error().getMessage() + "), " + failures.size() + " of " + chunks.size()
                        + " chunks in all: failures() has each",
                attributes);
        error.initCause(first.error());
        return error;
    }

    /**
     * What came, for people.
     *
     * @return rows, chunks and failures
     */
    @Override
    public String toString() {
        int rows = chunks.get(chunks.size() - 1).stop();
        return "ScoredTable of " + rows + " rows in " + chunks.size() + " chunks, "
                + failures().size() + " failed";
    }
}
