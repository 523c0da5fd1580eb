package io.rendezvous;

import java.util.Map;

/** A field of the request is malformed. Code: {@link ErrorCode#INVALID_REQUEST}. */
public final class InvalidRequestException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public InvalidRequestException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public InvalidRequestException(String message, Map<String, ?> attributes) {
        super(ErrorCode.INVALID_REQUEST, message, attributes);
    }
}
