package io.rendezvous;

import java.util.Map;

/** The model raised an error on this input. Code: {@link ErrorCode#MODEL_FAILED}. */
public final class ModelFailedException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public ModelFailedException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public ModelFailedException(String message, Map<String, ?> attributes) {
        super(ErrorCode.MODEL_FAILED, message, attributes);
    }
}
