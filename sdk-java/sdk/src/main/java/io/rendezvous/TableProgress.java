package io.rendezvous;

/** Is told how far the scoring of a large table has come; {@link ProgressBar} shows it. */
@FunctionalInterface
public interface TableProgress {
    /** Tells nobody. */
    TableProgress NONE = (done, failed, total) -> {};

    /**
     * Called before the first row is sent, and whenever rows are done; by one thread at a time, which is one of the
     * client's. What it throws ends the scoring.
     *
     * @param done rows that were answered or have failed
     * @param failed how many of these have failed
     * @param total rows of the table
     */
    void onProgress(int done, int failed, int total);
}
