package io.rendezvous;

import java.util.Map;

/** The credentials do not allow this. Code: {@link ErrorCode#PERMISSION_DENIED}. */
public final class PermissionDeniedException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public PermissionDeniedException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public PermissionDeniedException(String message, Map<String, ?> attributes) {
        super(ErrorCode.PERMISSION_DENIED, message, attributes);
    }
}
