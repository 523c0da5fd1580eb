package io.rendezvous.probe;

import io.rendezvous.Column;
import io.rendezvous.ColumnType;
import io.rendezvous.DoubleColumn;
import io.rendezvous.Frame;
import io.rendezvous.Model;
import io.rendezvous.ModelDescription;
import io.rendezvous.v1.ModelInfo;

/** Answers the first FP64 column as {@code y}: what a served model costs beside its own work. */
public final class TrivialModel implements Model {
    /** Makes the model. */
    public TrivialModel() {}

    @Override
    public ModelInfo info() {
        return ModelDescription.builder().task("trivial").build();
    }

    @Override
    public Frame score(Frame inputs) {
        for (Column column : inputs.columns()) {
            if (column.type() == ColumnType.FP64) {
                return Frame.builder()
                        .fp64("y", ((DoubleColumn) column).toArray())
                        .build();
            }
        }
        throw new IllegalArgumentException("there is no FP64 column to answer");
    }
}
