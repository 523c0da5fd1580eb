package io.rendezvous.internal;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnsafeByteOperations;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.rendezvous.InvalidFrameException;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.RendezvousException;
import io.rendezvous.TooLargeException;
import io.rendezvous.v1.ScoreRequest;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Map;

/**
 * A request as it came over gRPC: parsed with its columns in place, or why it could not be.
 *
 * @param request empty where there is a fault
 * @param fault null where there is none
 */
record Inbound(ScoreRequest request, RendezvousException fault) {
    /** Reads requests; what gRPC would refuse without a word is kept as a fault to be answered. */
    static final class Marshaller implements MethodDescriptor.Marshaller<Inbound> {
        private final int maxBytes;

        Marshaller(int maxBytes) {
            this.maxBytes = maxBytes;
        }

        @Override
        public InputStream stream(Inbound value) {
            return new ByteArrayInputStream(value.request.toByteArray());
        }

        @Override
        public Inbound parse(InputStream stream) {
            try {
                byte[] raw = stream.readAllBytes();
                return raw.length > maxBytes ? failed(tooLarge(raw.length)) : parse(raw);
            } catch (IOException error) {
                throw Status.INTERNAL
                        .withDescription("request not read")
                        .withCause(error)
                        .asRuntimeException();
            }
        }

        private Inbound parse(byte[] raw) throws IOException {
            CodedInputStream input = UnsafeByteOperations.unsafeWrap(raw).newCodedInput();
            input.enableAliasing(true);
            try {
                return new Inbound(ScoreRequest.parseFrom(input), null);
            } catch (InvalidProtocolBufferException error) {
                return failed(diagnose(raw));
            }
        }

        private TooLargeException tooLarge(int bytes) {
            return new TooLargeException(
                    "the request has " + bytes + " bytes; the limit is " + maxBytes + ": send fewer rows a request",
                    Map.of("actual", bytes, "limit", maxBytes));
        }

        private static RendezvousException diagnose(byte[] raw) {
            Utf8Diagnosis.Fault found = Utf8Diagnosis.find(raw, ScoreRequest.getDescriptor());
            if (found == null) {
                return new InvalidRequestException("the request is no ScoreRequest: it cannot be parsed");
            }
            String message = found.place() + " is not valid UTF-8";
            return found.column().isEmpty()
                    ? new InvalidRequestException(message)
                    : new InvalidFrameException(message, Map.of("column", found.column()));
        }

        private static Inbound failed(RendezvousException fault) {
            return new Inbound(ScoreRequest.getDefaultInstance(), fault);
        }
    }
}
