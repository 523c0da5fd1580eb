package io.rendezvous.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rendezvous.ErrorCode;
import io.rendezvous.Frame;
import io.rendezvous.Model;
import io.rendezvous.ModelFailedException;
import io.rendezvous.v1.DataType;
import io.rendezvous.v1.Error;
import io.rendezvous.v1.ItemScore;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelScore;
import java.util.Map;
import java.util.function.LongFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Parcels that are too much, and scores that would not fit into a message. */
class PostboxLimitsTest {
    private static final int LIMIT = 921_600;
    private static final String TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /** Scores answer x; negative x fails with much to say; 1000 and more give a text that fills a message. */
    private static final Model MODEL = inputs -> {
        double[] x = inputs.fp64("x").toArray();
        String[] text = new String[x.length];
        for (int row = 0; row < x.length; row++) {
            if (x[row] < 0) {
                throw new ModelFailedException("long ".repeat(190), Map.of("detail", "d".repeat(900)));
            }
            text[row] = x[row] >= 1000 ? "a".repeat(500) : "";
        }
        return Frame.builder().string("y", text).build();
    };

    private static Parcel parcel(Postbox box, int items, LongFunction<Double> value) {
        Frame[] tables = new Frame[items];
        for (int index = 0; index < items; index++) {
            tables[index] = Frame.builder().fp64("x", value.apply(index)).build();
        }
        Parcel.Builder parcel = box.parcel(tables).toBuilder();
        parcel.getItemsBuilderList().forEach(item -> item.setTraceparent(TRACE));
        return parcel.build();
    }

    /** When many requests fail with much to say, it is said shorter, and the others keep their scores. */
    @Test
    void manyErrors() {
        try (Postbox box = new Postbox(MODEL)) {
            ParcelScore score = box.deliver(parcel(box, 3000, index -> index % 2 == 0 ? 1.0 : -1.0));
            assertTrue(score.getSerializedSize() <= LIMIT, "score of " + score.getSerializedSize() + " bytes");
            assertEquals(1, score.getItems(0).getRows());
            Error error = score.getItems(1).getError();
            assertEquals(ErrorCode.MODEL_FAILED.number(), error.getCodeValue());
            assertTrue(error.getMessage().startsWith("long long"), error.getMessage());
            assertEquals(1500, score.getOutputs().getRows());
        }
    }

    /** Outputs that do not fit are refused in a score that does, however many requests the parcel has. */
    @ParameterizedTest
    @CsvSource({"2000", "5000", "7500"})
    void manyRefusals(int items) {
        try (Postbox box = new Postbox(MODEL)) {
            Parcel parcel = parcel(box, items, index -> 1000.0);
            assertTrue(parcel.getSerializedSize() <= LIMIT, "parcel of " + parcel.getSerializedSize() + " bytes");
            ParcelScore score = box.deliver(parcel);
            assertTrue(score.getSerializedSize() <= LIMIT, "score of " + score.getSerializedSize() + " bytes");
            assertEquals(items, score.getItemsCount());
            for (ItemScore item : score.getItemsList()) {
                assertEquals(ErrorCode.TOO_LARGE.number(), item.getError().getCodeValue());
                assertEquals(TRACE, item.getTraceparent());
            }
        }
    }

    /** Rows that are claimed, but cost nothing to send, are refused, also where their sum would overflow. */
    @ParameterizedTest
    @CsvSource({
        "1, 1000001, 1000001, TOO_LARGE",
        "1, 4611686018427387904, 4611686018427387904, TOO_LARGE",
        "4, 4611686018427387904, 3, INVALID_FRAME",
        "2, 4611686018427387904, 1, INVALID_FRAME"
    })
    void claimedRows(int items, long rows, long inAll, ErrorCode code) {
        try (Postbox box = new Postbox(MODEL)) {
            Parcel.Builder parcel = box.parcel(Frame.builder().fp64("x", 1).build()).toBuilder();
            var item = parcel.getItems(0).toBuilder().setRows(rows).build();
            parcel.clearItems();
            for (int index = 0; index < items; index++) {
                parcel.addItems(item);
            }
            if (inAll == 3) {
                parcel.addItems(item.toBuilder().setRows(3));
            }
            parcel.getInputsBuilder().setRows(inAll).clearColumns();
            parcel.getInputsBuilder()
                    .addColumnsBuilder()
                    .setName("x")
                    .setType(DataType.DATA_TYPE_FP64)
                    .addShape(0);
            ParcelScore score = box.deliver(parcel.build());
            for (ItemScore answer : score.getItemsList()) {
                assertEquals(code.number(), answer.getError().getCodeValue());
            }
        }
    }
}
