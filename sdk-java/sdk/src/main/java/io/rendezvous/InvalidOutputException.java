package io.rendezvous;

import java.util.Map;

/** The model answered something that its signature does not allow. Code: {@link ErrorCode#INVALID_OUTPUT}. */
public final class InvalidOutputException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public InvalidOutputException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public InvalidOutputException(String message, Map<String, ?> attributes) {
        super(ErrorCode.INVALID_OUTPUT, message, attributes);
    }
}
