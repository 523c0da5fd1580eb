package io.rendezvous;

import java.util.Map;

/** The endpoint does not exist. Code: {@link ErrorCode#UNKNOWN_ENDPOINT}. */
public final class UnknownEndpointException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public UnknownEndpointException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public UnknownEndpointException(String message, Map<String, ?> attributes) {
        super(ErrorCode.UNKNOWN_ENDPOINT, message, attributes);
    }
}
