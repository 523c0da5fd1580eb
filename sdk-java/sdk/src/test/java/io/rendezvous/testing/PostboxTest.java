package io.rendezvous.testing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rendezvous.ColumnType;
import io.rendezvous.ErrorCode;
import io.rendezvous.Frame;
import io.rendezvous.InvalidOutputException;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.Model;
import io.rendezvous.ModelDescription;
import io.rendezvous.ModelFailedException;
import io.rendezvous.OverloadedException;
import io.rendezvous.RendezvousException;
import io.rendezvous.v1.ItemScore;
import io.rendezvous.v1.ModelInfo;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelScore;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Models at the in-memory postbox, scored by the code that serves them. */
class PostboxTest {
    private static Frame x(double... values) {
        return Frame.builder().fp64("x", values).build();
    }

    private static final Model DOUBLES = inputs -> {
        double[] y = inputs.fp64("x").toArray();
        for (int row = 0; row < y.length; row++) {
            if (y[row] < 0) {
                throw new IllegalArgumentException("x is\n negative");
            }
            y[row] *= 2;
        }
        return Frame.builder().fp64("y", y).build();
    };

    /** A request is answered row by row. */
    @Test
    void scores() {
        try (Postbox box = new Postbox(DOUBLES)) {
            assertArrayEquals(
                    new double[] {2, 4}, box.score(x(1, 2)).frame().fp64("y").toArray());
        }
    }

    /** Parcels that wait together are scored as one table, and each gets its own rows. */
    @Test
    void joinsWaitingParcels() {
        List<Integer> tables = new ArrayList<>();
        Model counting = inputs -> {
            tables.add(inputs.rows());
            return DOUBLES.score(inputs);
        };
        try (Postbox box = new Postbox(counting)) {
            List<ParcelScore> scores =
                    box.deliverTogether(box.parcel(x(1), x(2, 3)), box.parcel(x(4)), box.parcel(x(5, 6, 7)));
            assertEquals(List.of(7), tables);
            assertArrayEquals(
                    new double[] {10, 12, 14},
                    Frame.of(scores.get(2).getOutputs()).fp64("y").toArray());
            assertEquals(2, scores.get(0).getItems(1).getRows());
        }
    }

    /** Parcels with other columns are scored each for itself. */
    @Test
    void scoresUnlikeParcelsApart() {
        try (Postbox box = new Postbox(DOUBLES)) {
            Frame other = Frame.builder().string("s", "a").fp64("x", 8).build();
            List<ParcelScore> scores = box.deliverTogether(box.parcel(x(1)), box.parcel(other));
            assertEquals(16, Frame.of(scores.get(1).getOutputs()).fp64("y").get(0));
        }
    }

    /** One bad request fails alone, with the author's message on one line. */
    @Test
    void oneBadRequestFailsAlone() {
        try (Postbox box = new Postbox(DOUBLES)) {
            ParcelScore score = box.deliver(box.parcel(x(1), x(2), x(-3), x(4), x(5)));
            List<Long> rows =
                    score.getItemsList().stream().map(ItemScore::getRows).toList();
            assertEquals(List.of(1L, 1L, 0L, 1L, 1L), rows);
            assertEquals(
                    "the model raised IllegalArgumentException: x is negative",
                    score.getItems(2).getError().getMessage());
            assertEquals(
                    "IllegalArgumentException", score.getItems(2).getError().getAttributesOrThrow("exception"));
            assertArrayEquals(
                    new double[] {2, 4, 8, 10},
                    Frame.of(score.getOutputs()).fp64("y").toArray());
        }
    }

    static Stream<Arguments> bad() {
        return Stream.of(
                row("an Error", ErrorCode.MODEL_FAILED, "the model raised AssertionError: bad", in -> {
                    throw new AssertionError("bad");
                }),
                row(
                        "endless recursion",
                        ErrorCode.MODEL_FAILED,
                        "the model raised StackOverflowError: no message",
                        in -> {
                            return recurse(in);
                        }),
                row("out of memory", ErrorCode.MODEL_FAILED, "OutOfMemoryError", in -> {
                    return Frame.builder()
                            .fp64("y", new double[Integer.MAX_VALUE])
                            .build();
                }),
                row("a checked exception", ErrorCode.MODEL_FAILED, "the model raised Exception: why", in -> {
                    throw new Exception("why");
                }),
                row(
                        "a column that is not there",
                        ErrorCode.MODEL_FAILED,
                        "the model raised SignatureMismatchException: there is no column 'nope'",
                        in -> Frame.builder()
                                .fp64("y", in.fp64("nope").toArray())
                                .build()),
                row(
                        "a column read as another type",
                        ErrorCode.MODEL_FAILED,
                        "and was read as",
                        in -> Frame.builder()
                                .int64("y", in.int64("x").toArray())
                                .build()),
                row(
                        "an endpoint that the model asks",
                        ErrorCode.MODEL_FAILED,
                        "the model raised OverloadedException: later",
                        in -> {
                            throw new OverloadedException("later");
                        }),
                row("an output that it refuses itself", ErrorCode.INVALID_OUTPUT, "mine", in -> {
                    throw new InvalidOutputException("mine");
                }),
                row(
                        "an error whose cause says what",
                        ErrorCode.MODEL_FAILED,
                        "the model raised ExceptionInInitializerError: caused by IllegalStateException: no table",
                        in -> {
                            throw new ExceptionInInitializerError(new IllegalStateException("no table"));
                        }),
                row("null", ErrorCode.INVALID_OUTPUT, "null", in -> null),
                row(
                        "no columns",
                        ErrorCode.INVALID_OUTPUT,
                        "no columns",
                        in -> Frame.builder().build()),
                row("a row too few", ErrorCode.INVALID_OUTPUT, "1 rows for 2", in -> x(1)),
                row(
                        "unequal columns",
                        ErrorCode.INVALID_OUTPUT,
                        "'z'",
                        in -> Frame.builder().fp64("y", 1, 2).fp64("z", 1).build()),
                row(
                        "a column of another name",
                        ErrorCode.INVALID_OUTPUT,
                        "'q' is unknown",
                        in -> Frame.builder().fp64("q", 1, 2).build()),
                row(
                        "another type",
                        ErrorCode.INVALID_OUTPUT,
                        "expected FP64, got STRING",
                        in -> Frame.builder().string("y", "a", "b").build()),
                row(
                        "NaN",
                        ErrorCode.INVALID_OUTPUT,
                        "NaN in row 1",
                        in -> Frame.builder().fp64("y", 1, Double.NaN).build()),
                row(
                        "missing rows",
                        ErrorCode.INVALID_OUTPUT,
                        "missing in row 0",
                        in -> Frame.builder()
                                .fp64("y", 1, 2)
                                .missing(new boolean[] {true, false})
                                .build()));
    }

    private static Arguments row(String name, ErrorCode code, String message, Model model) {
        return Arguments.of(name, code, message, model);
    }

    private static Frame recurse(Frame frame) {
        Frame deeper = recurse(frame);
        return deeper == null ? frame : deeper;
    }

    /** Whatever a model does is answered, with the kind of error and a message that says what. */
    @ParameterizedTest(name = "{0}")
    @MethodSource
    void bad(String name, ErrorCode code, String message, Model model) {
        Model declared = new Model() {
            @Override
            public ModelInfo info() {
                return ModelDescription.builder().output("y", ColumnType.FP64).build();
            }

            @Override
            public Frame score(Frame inputs) throws Exception {
                return model.score(inputs);
            }
        };
        try (Postbox box = new Postbox(declared)) {
            RendezvousException error = assertThrows(RendezvousException.class, () -> box.score(x(1, 2)), name);
            assertEquals(code, error.code());
            assertTrue(error.getMessage().contains(message), error.getMessage());
        }
    }

    /** Declared inputs are checked and selected; others are left out. */
    @Test
    void selectsDeclaredInputs() {
        Model declared = new Model() {
            @Override
            public ModelInfo info() {
                return ModelDescription.builder().input("x", ColumnType.FP64).build();
            }

            @Override
            public Frame score(Frame inputs) {
                assertEquals(List.of("x"), inputs.names());
                return Frame.builder().fp64("y", inputs.fp64("x").toArray()).build();
            }
        };
        try (Postbox box = new Postbox(declared)) {
            Frame more = Frame.builder().string("s", "a").fp64("x", 3).build();
            assertEquals(3, box.score(more).frame().fp64("y").get(0));
            Frame none = Frame.builder().string("s", "a").build();
            RendezvousException absent = assertThrows(RendezvousException.class, () -> box.score(none));
            assertEquals(ErrorCode.SIGNATURE_MISMATCH, absent.code());
            RendezvousException nan = assertThrows(RendezvousException.class, () -> box.score(x(Double.NaN)));
            assertEquals("input of the model: column 'x' is NaN in row 0: it must be finite here", nan.getMessage());
        }
    }

    /** What had expired at delivery is not scored, what had not is, whatever the time later. */
    @Test
    void expires() {
        try (Postbox box = new Postbox(DOUBLES)) {
            Parcel parcel = box.parcel(Duration.ofMillis(100), x(1), x(2));
            box.advance(Duration.ofMillis(99));
            assertTrue(box.deliver(parcel).hasOutputs());
            box.advance(Duration.ofMillis(1));
            ParcelScore late = box.deliver(parcel);
            assertEquals(ErrorCode.EXPIRED.number(), late.getItems(0).getError().getCodeValue());
            assertFalse(late.hasOutputs());
            assertEquals(2, late.getDelivery());
        }
    }

    /** The fifth delivery of a parcel is the last: it is given up. */
    @Test
    void givesUp() {
        try (Postbox box = new Postbox(DOUBLES)) {
            Parcel parcel = box.parcel(x(1));
            for (int delivery = 1; delivery < 5; delivery++) {
                assertTrue(box.deliver(parcel).hasOutputs());
            }
            ParcelScore last = box.deliver(parcel);
            assertEquals(
                    ErrorCode.MODEL_FAILED.number(), last.getItems(0).getError().getCodeValue());
        }
    }

    /** Outputs that do not fit a message are answered with TOO_LARGE. */
    @Test
    void refusesHugeOutputs() {
        Model huge =
                inputs -> Frame.builder().string("y", "a".repeat(2_000_000)).build();
        try (Postbox box = new Postbox(huge)) {
            RendezvousException error = assertThrows(RendezvousException.class, () -> box.score(x(1)));
            assertEquals(ErrorCode.TOO_LARGE, error.code());
        }
    }

    /** A model whose setup fails, and malformed names, are refused at once. */
    @Test
    void refusesWhatCannotServe() {
        Model broken = new Model() {
            @Override
            public void setup() throws Exception {
                throw new java.io.IOException("no file");
            }

            @Override
            public Frame score(Frame inputs) {
                return inputs;
            }
        };
        assertThrows(ModelFailedException.class, () -> new Postbox(broken));
        assertThrows(InvalidRequestException.class, () -> new Postbox(DOUBLES, "a.b", "m", "1"));
    }
}
