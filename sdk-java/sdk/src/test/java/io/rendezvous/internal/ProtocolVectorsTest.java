package io.rendezvous.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Metadata;
import io.grpc.Status;
import io.opentelemetry.api.OpenTelemetry;
import io.rendezvous.ErrorCode;
import io.rendezvous.Frame;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.Model;
import io.rendezvous.RendezvousException;
import io.rendezvous.Vectors;
import io.rendezvous.v1.ItemScore;
import io.rendezvous.v1.ModelInfo;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelScore;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Names, deadlines, errors, scores and traces, as the vectors have them. */
class ProtocolVectorsTest {
    /** What may be a name or version is taken as it is, anything else refused before it gets anywhere. */
    @TestFactory
    Stream<DynamicTest> names() {
        return Stream.concat(
                Vectors.tests("names", "name", ProtocolVectorsTest::assertName),
                Vectors.tests("names", "version", ProtocolVectorsTest::assertName));
    }

    private static void assertName(JsonObject item) {
        String value = item.get("value").getAsString();
        boolean isVersion = item.get("kind").getAsString().equals("version");
        if (!item.get("valid").getAsBoolean()) {
            assertThrows(InvalidRequestException.class, () -> {
                if (isVersion) {
                    Names.checkVersion(value);
                } else {
                    Names.checkName("model", value);
                }
            });
        } else if (isVersion) {
            assertEquals(item.get("token").getAsString(), Names.versionToken(Names.checkVersion(value)));
        } else {
            assertEquals(value, Names.checkName("model", value));
        }
    }

    /** Subjects, streams, consumer and keys follow from the names. */
    @TestFactory
    Stream<DynamicTest> addresses() {
        return Vectors.tests("names", "addresses", item -> {
            String endpoint = item.get("endpoint").getAsString();
            String model = item.get("model").getAsString();
            String version = item.get("version").getAsString();
            JsonObject subjects = item.getAsJsonObject("subjects");
            assertEquals(subjects.get("input").getAsString(), Names.inputSubject(endpoint));
            assertEquals(subjects.get("raw").getAsString(), Names.rawSubject(endpoint, 1));
            assertEquals(subjects.get("raw_of_stage_2").getAsString(), Names.rawSubject(endpoint, 2));
            String router = item.get("router").getAsString();
            assertEquals(subjects.get("score").getAsString(), Names.scoreSubject(endpoint, model, router));
            JsonObject streams = item.getAsJsonObject("streams");
            assertEquals(streams.get("durable").getAsString(), Names.durableStream(endpoint));
            assertEquals(item.get("consumer").getAsString(), Names.consumerName(model, version));
            JsonObject keys = item.getAsJsonObject("keys");
            assertEquals(keys.get(Names.MODELS_BUCKET).getAsString(), Names.modelKey(endpoint, model, version));
        });
    }

    /** An item is expired by the broker's clock alone, whatever the model's own says. */
    @TestFactory
    Stream<DynamicTest> deadlines() {
        return Vectors.tests("deadlines", null, item -> {
            long ageUs = item.get("broker_now_unix_us").getAsLong()
                    - item.get("stored_unix_us").getAsLong();
            boolean expired = ParcelWork.isExpired(item.get("budget_us").getAsLong(), ageUs);
            assertEquals(item.get("expired").getAsBoolean(), expired);
        });
    }

    /** Every code is in the vectors, once, with the same facts; its leaf class carries it. */
    @Test
    void errorTable() {
        List<String> expected = new ArrayList<>();
        for (JsonObject item : Vectors.load("errors")) {
            expected.add(item.get("code").getAsInt() + " " + item.get("name").getAsString() + " "
                    + item.get("retryable").getAsBoolean() + " "
                    + item.get("grpc_status").getAsString() + " "
                    + item.get("http_status").getAsInt());
        }
        List<String> actual = Arrays.stream(ErrorCode.values())
                .map(code -> code.number() + " " + code + " " + code.retryable() + " " + code.grpcStatus() + " "
                        + code.httpStatus())
                .toList();
        assertEquals(expected, actual);
        for (ErrorCode code : ErrorCode.values()) {
            RendezvousException error = RendezvousException.of(code, "why", java.util.Map.of("limit", 3));
            assertEquals(code, RendezvousException.fromProto(error.toProto()).code());
            assertEquals(
                    error.getClass(),
                    RendezvousException.fromProto(error.toProto()).getClass());
        }
    }

    /** The whole error in the metadata counts; else the status does; a code of the future is INTERNAL. */
    @TestFactory
    Stream<DynamicTest> statuses() {
        Metadata.Key<byte[]> key = Metadata.Key.of(Names.ERROR_METADATA_KEY, Metadata.BINARY_BYTE_MARSHALLER);
        return Vectors.tests("statuses", null, item -> {
            Metadata trailers = new Metadata();
            byte[] packed = Vectors.bytes(item.get("error_bin"));
            if (packed.length > 0) {
                trailers.put(key, packed);
            }
            Status status = Status.fromCodeValue(item.get("grpc_code").getAsInt())
                    .withDescription(item.get("details").getAsString());
            RendezvousException error = GrpcErrors.fromThrowable(status.asRuntimeException(trailers));
            assertEquals(item.get("code").getAsString(), error.code().name());
            assertEquals(item.get("message").getAsString(), error.getMessage());
            assertEquals(item.get("retryable").getAsBoolean(), error.retryable());
        });
    }

    /** Well-formed is what W3C calls so. */
    @TestFactory
    Stream<DynamicTest> traces() {
        return Vectors.tests(
                "traces",
                null,
                item -> assertEquals(
                        item.get("well_formed").getAsBoolean(),
                        Traces.isValid(item.get("traceparent").getAsString())));
    }

    /** Items, errors, trace context and output rows are those of the vectors, one parcel alone or beside another. */
    @TestFactory
    Stream<DynamicTest> scores() {
        return Vectors.tests("scores", "scored", item -> {
            Delivery delivery =
                    new Delivery(parcel(item), 1, 1, item.get("age_us").getAsLong(), 0);
            List<ParcelScore> scores = new ArrayList<>(scorer().scoreParcels(List.of(delivery)));
            scores.addAll(scorer().scoreParcels(List.of(delivery, delivery)));
            for (ParcelScore score : scores) {
                assertItems(Vectors.list(item.get("items")), score);
                String outputs = item.get("outputs").getAsString();
                assertEquals(!outputs.isEmpty(), score.hasOutputs());
                assertEquals(Vectors.frame(item.get("outputs")), score.getOutputs());
            }
        });
    }

    /** What is no parcel is not parsed; what contradicts itself is refused for each of its requests. */
    @TestFactory
    Stream<DynamicTest> malformed() {
        return Vectors.tests("scores", "malformed", item -> {
            Parcel parcel;
            try {
                parcel = Parcel.parseFrom(Vectors.bytes(item.get("parcel")));
            } catch (InvalidProtocolBufferException error) {
                return;
            }
            ParcelScore score = scorer().scoreParcels(List.of(new Delivery(parcel, 1, 1, 0, 0)))
                    .get(0);
            assertFalse(score.hasOutputs());
            assertEquals(parcel.getItemsCount(), score.getItemsCount());
            for (ItemScore answer : score.getItemsList()) {
                assertEquals(ErrorCode.INVALID_FRAME.number(), answer.getError().getCodeValue());
            }
        });
    }

    private static void assertItems(List<JsonElement> expected, ParcelScore score) {
        assertEquals(expected.size(), score.getItemsCount());
        for (int index = 0; index < expected.size(); index++) {
            JsonObject item = expected.get(index).getAsJsonObject();
            ItemScore actual = score.getItems(index);
            assertEquals(item.get("request_id").getAsString(), actual.getRequestId());
            assertEquals(item.get("rows").getAsLong(), actual.getRows());
            assertEquals(item.get("traceparent").getAsString(), actual.getTraceparent());
            String code = actual.hasError()
                    ? ErrorCode.of(actual.getError().getCodeValue()).name()
                    : null;
            assertEquals(
                    item.get("error").isJsonNull() ? null : item.get("error").getAsString(), code);
        }
    }

    private static Parcel parcel(JsonObject item) {
        try {
            return Parcel.parseFrom(Vectors.bytes(item.get("parcel")));
        } catch (InvalidProtocolBufferException error) {
            throw new IllegalArgumentException(error);
        }
    }

    /** A scorer of the vectors' model: y is x; fails on negative x, gives a row too few on x of 1000 and more. */
    private static ParcelScorer scorer() {
        Model model = inputs -> {
            int[] x = inputs.int32("x").toArray();
            if (Arrays.stream(x).anyMatch(value -> value < 0)) {
                throw new IllegalArgumentException("x is negative");
            }
            boolean wrong = Arrays.stream(x).anyMatch(value -> value >= 1000);
            return Frame.builder()
                    .int32("y", wrong ? Arrays.copyOf(x, x.length - 1) : x)
                    .build();
        };
        return new ParcelScorer(
                new ServedModel(model, ModelInfo.getDefaultInstance()),
                new ParcelScorer.Identity("credit", "m", "1", "r"),
                ScoringGuard.NONE,
                new Traces(OpenTelemetry.noop()),
                Clocks::unixUs);
    }
}
