package io.rendezvous.probe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.rendezvous.ErrorCode;
import io.rendezvous.Frame;
import io.rendezvous.FrameBuilder;
import io.rendezvous.RendezvousException;
import io.rendezvous.testing.Postbox;
import io.rendezvous.v1.ColumnSpec;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The probe does what the kit expects of it. */
class ProbeModelTest {
    private static Frame row(String command) {
        FrameBuilder row = Frame.builder()
                .string("command", command)
                .bool("bool", true)
                .uint8("uint8", 255)
                .uint16("uint16", 65535)
                .uint32("uint32", 4294967295L)
                .uint64("uint64", -1)
                .int8("int8", -128)
                .int16("int16", -32768)
                .int32("int32", Integer.MIN_VALUE)
                .int64("int64", Long.MIN_VALUE)
                .fp16("fp16", 0.5f)
                .fp32("fp32", Float.NaN)
                .fp64("fp64", 0.1)
                .missing(new boolean[] {true})
                .string("string", "Zürich")
                .bytes("bytes", new byte[] {0, -1});
        return row.fp64("vector", 1, 2, 3)
                .shape(3)
                .int32("matrix", 1, 2, 3, 4)
                .shape(2, 2)
                .string("texts", "a", "")
                .shape(2)
                .rows(1)
                .fp64("hollow")
                .shape(0)
                .build();
    }

    /** Every column comes back as it was, and the strict one is a half. */
    @Test
    void echoes() {
        try (Postbox box = new Postbox(new ProbeModel())) {
            Frame outputs = box.score(row("")).frame();
            Frame inputs = row("");
            assertEquals(0.5, outputs.fp64("strict").get(0));
            List<String> echoed = inputs.names().subList(1, inputs.names().size());
            assertEquals(inputs.select(echoed), outputs.select(echoed));
            List<String> declared = new ProbeModel()
                    .info().getSignature().getInputsList().stream()
                            .map(ColumnSpec::getName)
                            .toList();
            assertEquals(inputs.names(), declared);
        }
    }

    /** Each command misbehaves in its own way. */
    @ParameterizedTest
    @CsvSource({
        "fail:why, MODEL_FAILED, the model raised IllegalStateException: why",
        "error:why, MODEL_FAILED, the model raised AssertionError: why",
        "wrong-rows, INVALID_OUTPUT, the model gave 0 rows for 1: it must give one for each",
        "missing-column, INVALID_OUTPUT, 'output of the model: column ''strict'''",
        "wrong-type, INVALID_OUTPUT, 'output of the model: column ''fp64'''",
        "nan, INVALID_OUTPUT, 'output of the model: column ''strict'''",
    })
    void misbehaves(String command, ErrorCode code, String message) {
        try (Postbox box = new Postbox(new ProbeModel())) {
            RendezvousException error = assertThrows(RendezvousException.class, () -> box.score(row(command)));
            assertEquals(code, error.code());
            assertEquals(message, error.getMessage().substring(0, message.length()));
        }
    }

    /** The trivial model answers the first column of doubles, unchanged. */
    @Test
    void trivial() {
        try (Postbox box = new Postbox(new TrivialModel())) {
            Frame rows = Frame.builder().int64("i", 1).fp64("a", 2).fp64("b", 3).build();
            assertEquals(2, box.score(rows).frame().fp64("y").get(0));
        }
    }
}
