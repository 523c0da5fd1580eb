package io.rendezvous.internal;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.rendezvous.ErrorCode;
import io.rendezvous.RendezvousException;
import io.rendezvous.v1.Error;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/** Errors as gRPC carries them: status by the table, details = message, the whole in trailing metadata (P82). */
public final class GrpcErrors {
    private static final Metadata.Key<byte[]> ERROR =
            Metadata.Key.of(Names.ERROR_METADATA_KEY, Metadata.BINARY_BYTE_MARSHALLER);

    /** When the server asks to be asked again, in milliseconds; the same in the error's attributes. */
    private static final Metadata.Key<String> RETRY_AFTER =
            Metadata.Key.of("retry-after-ms", Metadata.ASCII_STRING_MARSHALLER);

    private static final String RETRY_AFTER_ATTRIBUTE = "retry_after_ms";
    private static final Pattern MILLISECONDS = Pattern.compile("[0-9]{1,10}");

    /** Clients take 8 KiB of metadata unless told otherwise; the rest is for what gRPC adds. */
    private static final int METADATA_BYTES = 7000;

    private GrpcErrors() {}

    /** Returns the status with which a call ends that failed so. */
    public static StatusRuntimeException toStatus(RendezvousException error) {
        Error carried = error.toProto();
        byte[] packed = carried.toByteArray();
        Metadata trailers = new Metadata();
        trailers.put(ERROR, packed);
        int left = METADATA_BYTES - (packed.length + 2) / 3 * 4;
        return Status.fromCode(Status.Code.valueOf(error.code().grpcStatus()))
                .withDescription(fitting(carried.getMessage(), left))
                .asRuntimeException(trailers);
    }

    /** Cuts details that are too long as HTTP/2 carries them: three bytes for each that is not printable ASCII. */
    private static String fitting(String details, int most) {
        int bytes = 0;
        for (int at = 0; at < details.length(); ) {
            int point = details.codePointAt(at);
            boolean plain = point >= ' ' && point <= '~' && point != '%';
            bytes += plain ? 1 : 3 * Character.toString(point).getBytes(StandardCharsets.UTF_8).length;
            if (bytes > most) {
                return details.substring(0, at);
            }
            at += Character.charCount(point);
        }
        return details;
    }

    /** Returns the typed error of a failed call; from its metadata, else from its status. */
    public static RendezvousException fromThrowable(Throwable failure) {
        if (failure instanceof RendezvousException error) {
            return error;
        }
        Metadata trailers = Status.trailersFromThrowable(failure);
        byte[] carried = trailers == null ? null : trailers.get(ERROR);
        String retryAfter = trailers == null ? null : trailers.get(RETRY_AFTER);
        if (carried != null) {
            try {
                Error error = Error.parseFrom(carried);
                if (retryAfter != null && !error.containsAttributes(RETRY_AFTER_ATTRIBUTE)) {
                    error = error.toBuilder()
                            .putAttributes(RETRY_AFTER_ATTRIBUTE, retryAfter)
                            .build();
                }
                return RendezvousException.fromProto(error);
            } catch (InvalidProtocolBufferException malformed) {
                failure.addSuppressed(malformed);
            }
        }
        return fromStatus(Status.fromThrowable(failure), retryAfter, failure);
    }

    /** Returns how long the server asks to be left alone after an error, in nanoseconds; 0 where it does not say. */
    public static long retryAfterNs(RendezvousException error) {
        String said = error.attributes().getOrDefault(RETRY_AFTER_ATTRIBUTE, "0");
        return MILLISECONDS.matcher(said).matches() ? TimeUnit.MILLISECONDS.toNanos(Long.parseLong(said)) : 0;
    }

    private static RendezvousException fromStatus(Status status, String retryAfter, Throwable failure) {
        String details = status.getDescription() == null ? status.getCode().name() : status.getDescription();
        Map<String, String> attributes = new LinkedHashMap<>();
        attributes.put("grpc_status", status.getCode().name());
        if (retryAfter != null) {
            attributes.put(RETRY_AFTER_ATTRIBUTE, retryAfter);
        }
        RendezvousException error = RendezvousException.of(codeOf(status.getCode(), details), details, attributes);
        error.initCause(failure);
        return error;
    }

    private static ErrorCode codeOf(Status.Code status, String details) {
        return switch (status) {
            case INVALID_ARGUMENT -> ErrorCode.INVALID_REQUEST;
            case NOT_FOUND -> ErrorCode.UNKNOWN_ENDPOINT;
            case ALREADY_EXISTS -> ErrorCode.REQUEST_ID_CONFLICT;
            case DEADLINE_EXCEEDED -> ErrorCode.NO_ANSWER;
            // gRPC's own limit on messages has no other status
            case RESOURCE_EXHAUSTED ->
                details.contains("larger than max") || details.contains("exceeds maximum size")
                        ? ErrorCode.TOO_LARGE
                        : ErrorCode.OVERLOADED;
            // A server that shuts down cancels what reached it but had not been taken in: as good as not reached.
            case UNAVAILABLE, CANCELLED -> ErrorCode.UNAVAILABLE;
            case UNAUTHENTICATED -> ErrorCode.UNAUTHENTICATED;
            case PERMISSION_DENIED -> ErrorCode.PERMISSION_DENIED;
            case UNIMPLEMENTED -> ErrorCode.UNIMPLEMENTED;
            default -> ErrorCode.INTERNAL;
        };
    }
}
