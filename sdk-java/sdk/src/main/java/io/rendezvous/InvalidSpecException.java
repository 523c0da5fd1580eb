package io.rendezvous;

import java.util.Map;

/** The endpoint's specification is not valid. Code: {@link ErrorCode#INVALID_SPEC}. */
public final class InvalidSpecException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public InvalidSpecException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public InvalidSpecException(String message, Map<String, ?> attributes) {
        super(ErrorCode.INVALID_SPEC, message, attributes);
    }
}
