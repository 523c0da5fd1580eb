package io.rendezvous.internal;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnsafeByteOperations;
import com.google.protobuf.WireFormat;
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
 * @param request where there is a fault, only its id, if that could be read
 * @param fault null where there is none
 */
record Inbound(ScoreRequest request, RendezvousException fault) {
    /** Reads requests; what gRPC would refuse without a word is kept as a fault to be answered. */
    static final class Marshaller implements MethodDescriptor.Marshaller<Inbound> {
        private static final int REQUEST_ID_TAG =
                ScoreRequest.REQUEST_ID_FIELD_NUMBER << 3 | WireFormat.WIRETYPE_LENGTH_DELIMITED;
        private static final int MAX_ID_BYTES = 1000;

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
                return raw.length > maxBytes ? failed(tooLarge(raw.length), raw) : parse(raw);
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
                return failed(diagnose(raw), raw);
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

        private static Inbound failed(RendezvousException fault, byte[] raw) {
            ScoreRequest.Builder request = ScoreRequest.newBuilder();
            request.setRequestId(requestId(CodedInputStream.newInstance(raw)));
            return new Inbound(request.build(), fault);
        }

        /** The id by which a stream's client finds the answer (P102); empty if it cannot be made out. */
        private static String requestId(CodedInputStream input) {
            String found = "";
            try {
                for (int tag = input.readTag(); tag != 0; tag = input.readTag()) {
                    if (tag != REQUEST_ID_TAG) {
                        input.skipField(tag);
                        continue;
                    }
                    ByteString id = input.readBytes();
                    found = id.isValidUtf8() && id.size() <= MAX_ID_BYTES ? id.toStringUtf8() : "";
                }
            } catch (IOException error) {
                return found; // what came before the broken place
            }
            return found;
        }
    }
}
