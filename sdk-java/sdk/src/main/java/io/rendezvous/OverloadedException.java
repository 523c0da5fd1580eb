package io.rendezvous;

import java.util.Map;

/** Too many requests in flight. Code: {@link ErrorCode#OVERLOADED}. */
public final class OverloadedException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public OverloadedException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public OverloadedException(String message, Map<String, ?> attributes) {
        super(ErrorCode.OVERLOADED, message, attributes);
    }
}
