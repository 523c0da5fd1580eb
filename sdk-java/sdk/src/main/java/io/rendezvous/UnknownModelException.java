package io.rendezvous;

import java.util.Map;

/** The endpoint has no such model. Code: {@link ErrorCode#UNKNOWN_MODEL}. */
public final class UnknownModelException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public UnknownModelException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public UnknownModelException(String message, Map<String, ?> attributes) {
        super(ErrorCode.UNKNOWN_MODEL, message, attributes);
    }
}
