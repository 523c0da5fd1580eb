package io.rendezvous;

import io.rendezvous.v1.ColumnSpec;
import io.rendezvous.v1.ModelInfo;
import io.rendezvous.v1.Training;

/**
 * Makes what {@link Model#info} returns, without the messages' own builders.
 *
 * <pre>{@code
 * return ModelDescription.builder()
 *         .task("classification")
 *         .input("income", ColumnType.FP64).allowMissing()
 *         .input("purpose", ColumnType.STRING)
 *         .output("default_probability", ColumnType.FP64)
 *         .build();
 * }</pre>
 *
 * <p>Not thread-safe.
 */
public final class ModelDescription {
    private final ModelInfo.Builder info = ModelInfo.newBuilder();
    private ColumnSpec.Builder last;

    private ModelDescription() {}

    /**
     * Begins an empty description.
     *
     * @return the builder
     */
    public static ModelDescription builder() {
        return new ModelDescription();
    }

    /**
     * Declares an input column. Nothing declared: anything is taken.
     *
     * @param name its name
     * @param type type of its elements
     * @param shape shape of one row's value; none: scalar
     * @return this builder
     */
    public ModelDescription input(String name, ColumnType type, long... shape) {
        last = info.getSignatureBuilder().addInputsBuilder();
        return column(name, type, shape);
    }

    /**
     * Declares an output column. Nothing declared: anything is given.
     *
     * @param name its name
     * @param type type of its elements
     * @param shape shape of one row's value; none: scalar
     * @return this builder
     */
    public ModelDescription output(String name, ColumnType type, long... shape) {
        last = info.getSignatureBuilder().addOutputsBuilder();
        return column(name, type, shape);
    }

    /**
     * Allows rows of the column declared last to be missing. Default: they must not.
     *
     * @return this builder
     */
    public ModelDescription allowMissing() {
        declared().setAllowMissing(true);
        return this;
    }

    /**
     * Allows elements of the column declared last to be NaN or infinite. Default: they must not.
     *
     * @return this builder
     */
    public ModelDescription allowNan() {
        declared().setAllowNan(true);
        return this;
    }

    /**
     * What the column declared last means, for people.
     *
     * @param text the description
     * @return this builder
     */
    public ModelDescription columnDescription(String text) {
        declared().setDescription(text);
        return this;
    }

    /**
     * What the model does.
     *
     * @param task {@code classification}, {@code regression}, ...
     * @return this builder
     */
    public ModelDescription task(String task) {
        info.setTask(task);
        return this;
    }

    /**
     * Labels that a classification gives.
     *
     * @param labels in order
     * @return this builder
     */
    public ModelDescription labels(String... labels) {
        for (String label : labels) {
            info.addLabels(label);
        }
        return this;
    }

    /**
     * What the model was trained on.
     *
     * @param training data, time and metrics
     * @return this builder
     */
    public ModelDescription training(Training training) {
        info.setTraining(training);
        return this;
    }

    /**
     * The model, for people.
     *
     * @param text one line
     * @return this builder
     */
    public ModelDescription description(String text) {
        info.setDescription(text);
        return this;
    }

    /**
     * Makes the message.
     *
     * @return what was declared
     */
    public ModelInfo build() {
        return info.build();
    }

    private ModelDescription column(String name, ColumnType type, long... shape) {
        last.setName(name).setType(type.toProto());
        for (long dimension : shape) {
            last.addShape(dimension);
        }
        return this;
    }

    private ColumnSpec.Builder declared() {
        if (last == null) {
            throw new InvalidRequestException("no column was declared yet: call input or output first");
        }
        return last;
    }
}
