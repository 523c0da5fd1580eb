package io.rendezvous;

import java.util.Map;

/** The postbox, the router or the model cannot be reached or is shutting down. Code: {@link ErrorCode#UNAVAILABLE}. */
public final class UnavailableException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public UnavailableException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public UnavailableException(String message, Map<String, ?> attributes) {
        super(ErrorCode.UNAVAILABLE, message, attributes);
    }
}
