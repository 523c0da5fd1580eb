package io.rendezvous;

import java.util.Map;

/** The deadline had passed before the request could be scored. Code: {@link ErrorCode#EXPIRED}. */
public final class ExpiredException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public ExpiredException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public ExpiredException(String message, Map<String, ?> attributes) {
        super(ErrorCode.EXPIRED, message, attributes);
    }
}
