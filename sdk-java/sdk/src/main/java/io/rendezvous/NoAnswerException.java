package io.rendezvous;

import java.util.Map;

/** No score satisfied the policy by the deadline. Code: {@link ErrorCode#NO_ANSWER}. */
public final class NoAnswerException extends RendezvousException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     */
    public NoAnswerException(String message) {
        this(message, Map.of());
    }

    /**
     * Makes the error.
     *
     * @param message for people: what, the value, the limit, what to do
     * @param attributes for programs: the particulars by name; values become text
     */
    public NoAnswerException(String message, Map<String, ?> attributes) {
        super(ErrorCode.NO_ANSWER, message, attributes);
    }
}
