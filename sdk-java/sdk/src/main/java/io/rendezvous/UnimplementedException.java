package io.rendezvous;

import java.util.Map;

/** This server does not offer the operation. Code: {@link ErrorCode#UNIMPLEMENTED}. */
public final class UnimplementedException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public UnimplementedException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public UnimplementedException(String message, Map<String, ?> attributes) {
        super(ErrorCode.UNIMPLEMENTED, message, attributes);
    }
}
