package io.rendezvous;

import io.rendezvous.v1.ModelInfo;

/**
 * What a model author writes.
 *
 * <pre>{@code
 * ModelServer.builder(inputs -> Frame.builder()
 *                 .fp64("risk", Arrays.stream(inputs.fp64("income").toArray()).map(Risk::of).toArray())
 *                 .build())
 *         .endpoint("credit")
 *         .name("simple")
 *         .run();
 * }</pre>
 *
 * <p>Everything is called by one thread at a time, the model's own. Only if a call outlives the scoring limit and
 * does not heed its interruption, that thread is left behind with it and another one takes its place.
 */
@FunctionalInterface
public interface Model {
    /**
     * What is known about the model: signature, task, labels, training, description.
     *
     * <p>Inputs that a declared signature does not name are left out, those that it names are checked; so is what
     * the model gives. Called once, after {@link #setup}. Name, version, runtime and the like are filled in.
     *
     * @return the author's part; default: nothing is declared
     */
    default ModelInfo info() {
        return ModelInfo.getDefaultInstance();
    }

    /**
     * Prepares the model; called once before the first rows.
     *
     * @throws Exception what goes wrong; the server does not start
     */
    default void setup() throws Exception {}

    /**
     * Scores rows.
     *
     * @param inputs at least one row; several requests may be joined in it
     * @return as many rows
     * @throws Exception what goes wrong; answered as MODEL_FAILED with its message, never as the end of the process
     */
    Frame score(Frame inputs) throws Exception;

    /** Gives back what {@link #setup} took; called once after the last rows. */
    default void close() {}
}
