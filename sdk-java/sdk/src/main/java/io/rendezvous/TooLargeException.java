package io.rendezvous;

import java.util.Map;

/** More rows or bytes than the limit. Code: {@link ErrorCode#TOO_LARGE}. */
public final class TooLargeException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public TooLargeException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public TooLargeException(String message, Map<String, ?> attributes) {
        super(ErrorCode.TOO_LARGE, message, attributes);
    }
}
