package io.rendezvous;

import java.util.Map;

/** The same request id was used before with other content. Code: {@link ErrorCode#REQUEST_ID_CONFLICT}. */
public final class RequestIdConflictException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public RequestIdConflictException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public RequestIdConflictException(String message, Map<String, ?> attributes) {
        super(ErrorCode.REQUEST_ID_CONFLICT, message, attributes);
    }
}
