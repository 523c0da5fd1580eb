package io.rendezvous;

/**
 * What went wrong: the closed list of errors, and what is fixed about each.
 *
 * <p>Source: docs/protocol.md, section "Errors".
 */
public enum ErrorCode {
    /** A field of the request (id, endpoint name, context) is malformed. */
    INVALID_REQUEST(
            1, false, "INVALID_ARGUMENT", 400, "A field of the request (id, endpoint name, context) is malformed."),
    /** The frame contradicts itself: lengths, bitmap, UTF-8, duplicate or unnamed columns, no rows. */
    INVALID_FRAME(
            2,
            false,
            "INVALID_ARGUMENT",
            400,
            "The frame contradicts itself: lengths, bitmap, UTF-8, duplicate or unnamed columns, no rows."),
    /** The frame does not match the signature: missing, extra, mistyped or misshapen column, value not allowed. */
    SIGNATURE_MISMATCH(
            3,
            false,
            "INVALID_ARGUMENT",
            400,
            "The frame does not match the signature: missing, extra, mistyped or misshapen column, value not allowed."),
    /** More rows or bytes than the limit. */
    TOO_LARGE(4, false, "INVALID_ARGUMENT", 413, "More rows or bytes than the limit."),
    /** The endpoint does not exist (here, or for this caller). */
    UNKNOWN_ENDPOINT(5, false, "NOT_FOUND", 404, "The endpoint does not exist (here, or for this caller)."),
    /** A model was forced or addressed that the endpoint does not have. */
    UNKNOWN_MODEL(6, false, "NOT_FOUND", 404, "A model was forced or addressed that the endpoint does not have."),
    /** The same request id was used before with other content. */
    REQUEST_ID_CONFLICT(7, false, "ALREADY_EXISTS", 409, "The same request id was used before with other content."),
    /** The endpoint's specification is not valid. */
    INVALID_SPEC(8, false, "INVALID_ARGUMENT", 400, "The endpoint's specification is not valid."),
    /** The deadline had passed before the request could be scored. */
    EXPIRED(9, false, "DEADLINE_EXCEEDED", 504, "The deadline had passed before the request could be scored."),
    /** No score satisfied the policy by the deadline, and the policy's `otherwise` is `error`. */
    NO_ANSWER(
            10,
            true,
            "DEADLINE_EXCEEDED",
            504,
            "No score satisfied the policy by the deadline, and the policy's `otherwise` is `error`."),
    /** Too many requests in flight; try again later. */
    OVERLOADED(11, true, "RESOURCE_EXHAUSTED", 429, "Too many requests in flight; try again later."),
    /** The postbox, the router or the model cannot be reached or is shutting down; try again with the same request id. */
    UNAVAILABLE(
            12,
            true,
            "UNAVAILABLE",
            503,
            "The postbox, the router or the model cannot be reached or is shutting down; try again with the same request id."),
    /** The model raised an error on this input. */
    MODEL_FAILED(13, false, "INTERNAL", 500, "The model raised an error on this input."),
    /** The model answered something that its signature does not allow: rows, columns, types, NaN. */
    INVALID_OUTPUT(
            14,
            false,
            "INTERNAL",
            502,
            "The model answered something that its signature does not allow: rows, columns, types, NaN."),
    /** No or no valid credentials. */
    UNAUTHENTICATED(15, false, "UNAUTHENTICATED", 401, "No or no valid credentials."),
    /** The credentials do not allow this. */
    PERMISSION_DENIED(16, false, "PERMISSION_DENIED", 403, "The credentials do not allow this."),
    /** This server does not offer the operation. */
    UNIMPLEMENTED(17, false, "UNIMPLEMENTED", 501, "This server does not offer the operation."),
    /** A fault of this system; please report it. */
    INTERNAL(18, false, "INTERNAL", 500, "A fault of this system; please report it.");

    private final int number;
    private final boolean retryable;
    private final String grpcStatus;
    private final int httpStatus;
    private final String meaning;

    ErrorCode(int number, boolean retryable, String grpcStatus, int httpStatus, String meaning) {
        this.number = number;
        this.retryable = retryable;
        this.grpcStatus = grpcStatus;
        this.httpStatus = httpStatus;
        this.meaning = meaning;
    }

    /**
     * The code of a number on the wire.
     *
     * @param number value of the proto enum
     * @return its code; of a number that is not in the list, INTERNAL
     */
    public static ErrorCode of(int number) {
        for (ErrorCode code : values()) {
            if (code.number == number) {
                return code;
            }
        }
        return INTERNAL;
    }

    /**
     * The number on the wire.
     *
     * @return value of the proto enum
     */
    public int number() {
        return number;
    }

    /**
     * Whether the same request, with the same id, may succeed later.
     *
     * @return whether a client may send it again
     */
    public boolean retryable() {
        return retryable;
    }

    /**
     * The gRPC status that carries this code in a unary call.
     *
     * @return name of the status
     */
    public String grpcStatus() {
        return grpcStatus;
    }

    /**
     * The HTTP status that carries this code.
     *
     * @return status, 400 to 599
     */
    public int httpStatus() {
        return httpStatus;
    }

    /**
     * What it means, for people.
     *
     * @return one sentence
     */
    public String meaning() {
        return meaning;
    }
}
