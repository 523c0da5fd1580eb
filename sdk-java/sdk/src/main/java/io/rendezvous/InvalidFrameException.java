package io.rendezvous;

import java.util.Map;

/** The frame contradicts itself. Code: {@link ErrorCode#INVALID_FRAME}. */
public final class InvalidFrameException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public InvalidFrameException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public InvalidFrameException(String message, Map<String, ?> attributes) {
        super(ErrorCode.INVALID_FRAME, message, attributes);
    }
}
