package io.rendezvous;

import java.util.Map;

/** The frame does not match the signature. Code: {@link ErrorCode#SIGNATURE_MISMATCH}. */
public final class SignatureMismatchException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public SignatureMismatchException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public SignatureMismatchException(String message, Map<String, ?> attributes) {
        super(ErrorCode.SIGNATURE_MISMATCH, message, attributes);
    }
}
