package io.rendezvous;

import java.util.Map;

/** No or no valid credentials. Code: {@link ErrorCode#UNAUTHENTICATED}. */
public final class UnauthenticatedException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public UnauthenticatedException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public UnauthenticatedException(String message, Map<String, ?> attributes) {
        super(ErrorCode.UNAUTHENTICATED, message, attributes);
    }
}
