package io.rendezvous;

import java.util.Map;

/** A fault of this system. Code: {@link ErrorCode#INTERNAL}. */
public final class InternalException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public InternalException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public InternalException(String message, Map<String, ?> attributes) {
        super(ErrorCode.INTERNAL, message, attributes);
    }
}
