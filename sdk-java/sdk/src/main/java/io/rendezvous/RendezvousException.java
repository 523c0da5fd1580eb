package io.rendezvous;

import io.rendezvous.internal.Shown;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Root of all errors of Rendezvous: catch it, throw a leaf.
 *
 * <pre>
 * RuntimeException
 * └── RendezvousException
 *     ├── InvalidRequestException        INVALID_REQUEST
 *     ├── InvalidFrameException          INVALID_FRAME
 *     ├── SignatureMismatchException     SIGNATURE_MISMATCH
 *     ├── TooLargeException              TOO_LARGE
 *     ├── UnknownEndpointException       UNKNOWN_ENDPOINT
 *     ├── UnknownModelException          UNKNOWN_MODEL
 *     ├── RequestIdConflictException     REQUEST_ID_CONFLICT
 *     ├── InvalidSpecException           INVALID_SPEC
 *     ├── ExpiredException               EXPIRED
 *     ├── NoAnswerException              NO_ANSWER
 *     ├── OverloadedException            OVERLOADED
 *     ├── UnavailableException           UNAVAILABLE
 *     ├── ModelFailedException           MODEL_FAILED
 *     ├── InvalidOutputException         INVALID_OUTPUT
 *     ├── UnauthenticatedException       UNAUTHENTICATED
 *     ├── PermissionDeniedException      PERMISSION_DENIED
 *     ├── UnimplementedException         UNIMPLEMENTED
 *     └── InternalException              INTERNAL
 * </pre>
 *
 * <p>Immutable, but for what every Throwable can be given (cause, suppressed errors).
 *
 * <p>Source: docs/protocol.md, section "Errors".
 */
public abstract sealed class RendezvousException extends RuntimeException
        permits InvalidRequestException,
                InvalidFrameException,
                SignatureMismatchException,
                TooLargeException,
                UnknownEndpointException,
                UnknownModelException,
                RequestIdConflictException,
                InvalidSpecException,
                ExpiredException,
                NoAnswerException,
                OverloadedException,
                UnavailableException,
                ModelFailedException,
                InvalidOutputException,
                UnauthenticatedException,
                PermissionDeniedException,
                UnimplementedException,
                InternalException {
    private static final long serialVersionUID = 1L;

    /** What went wrong. */
    private final ErrorCode code;

    /** The particulars by name. */
    private final LinkedHashMap<String, String> attributes = new LinkedHashMap<>();

    RendezvousException(ErrorCode code, String message, Map<String, ?> attributes) {
        super(message);
        this.code = code;
        attributes.forEach((name, value) -> this.attributes.put(name, String.valueOf(value)));
    }

    /**
     * What went wrong; fixed by the class.
     *
     * @return the code
     */
    public ErrorCode code() {
        return code;
    }

    /**
     * Whether the same request, with the same id, may succeed later.
     *
     * @return whether a client may send it again
     */
    public boolean retryable() {
        return code.retryable();
    }

    /**
     * The particulars, for programs.
     *
     * @return unmodifiable map by name ({@code column}, {@code limit}, {@code actual}, ...)
     */
    public Map<String, String> attributes() {
        return java.util.Collections.unmodifiableMap(attributes);
    }

    /**
     * The message that travels: the message cut to 1,000 characters, and attributes as far as 4 KiB hold both.
     *
     * @return code, message and attributes
     */
    public io.rendezvous.v1.Error toProto() {
        String message = Shown.cut(getMessage(), Shown.MESSAGE_CHARACTERS);
        return io.rendezvous.v1.Error.newBuilder()
                .setCodeValue(code.number())
                .setMessage(message)
                .putAllAttributes(Shown.attributes(message, attributes))
                .build();
    }

    /**
     * Makes an instance of the leaf class of a code.
     *
     * @param code what went wrong
     * @param message for people
     * @param attributes for programs; values become text
     * @return the exception, not thrown
     */
    public static RendezvousException of(ErrorCode code, String message, Map<String, ?> attributes) {
        return switch (code) {
            case INVALID_REQUEST -> new InvalidRequestException(message, attributes);
            case INVALID_FRAME -> new InvalidFrameException(message, attributes);
            case SIGNATURE_MISMATCH -> new SignatureMismatchException(message, attributes);
            case TOO_LARGE -> new TooLargeException(message, attributes);
            case UNKNOWN_ENDPOINT -> new UnknownEndpointException(message, attributes);
            case UNKNOWN_MODEL -> new UnknownModelException(message, attributes);
            case REQUEST_ID_CONFLICT -> new RequestIdConflictException(message, attributes);
            case INVALID_SPEC -> new InvalidSpecException(message, attributes);
            case EXPIRED -> new ExpiredException(message, attributes);
            case NO_ANSWER -> new NoAnswerException(message, attributes);
            case OVERLOADED -> new OverloadedException(message, attributes);
            case UNAVAILABLE -> new UnavailableException(message, attributes);
            case MODEL_FAILED -> new ModelFailedException(message, attributes);
            case INVALID_OUTPUT -> new InvalidOutputException(message, attributes);
            case UNAUTHENTICATED -> new UnauthenticatedException(message, attributes);
            case PERMISSION_DENIED -> new PermissionDeniedException(message, attributes);
            case UNIMPLEMENTED -> new UnimplementedException(message, attributes);
            case INTERNAL -> new InternalException(message, attributes);
        };
    }

    /**
     * Makes the exception of a received message; never throws.
     *
     * @param error as it came; a code that is not in the list gives an {@link InternalException} with the
     *     attribute {@code unknown_code}
     * @return the exception, not thrown
     */
    public static RendezvousException fromProto(io.rendezvous.v1.Error error) {
        ErrorCode code = ErrorCode.of(error.getCodeValue());
        if (code.number() == error.getCodeValue()) {
            return of(code, error.getMessage(), error.getAttributesMap());
        }
        Map<String, Object> attributes = new LinkedHashMap<>(error.getAttributesMap());
        attributes.put("unknown_code", error.getCodeValue());
        return of(code, error.getMessage(), attributes);
    }
}
