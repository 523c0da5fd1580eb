package io.rendezvous.pmml;

import io.rendezvous.Column;
import io.rendezvous.ColumnType;
import io.rendezvous.Frame;
import io.rendezvous.FrameBuilder;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.Model;
import io.rendezvous.ModelDescription;
import io.rendezvous.ModelServer;
import io.rendezvous.RendezvousException;
import io.rendezvous.v1.ModelInfo;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.pmml4s.metadata.Field;
import org.pmml4s.metadata.OutputField;

/**
 * A PMML file as a model: trees, regressions, scorecards, ensembles and whatever else pmml4s evaluates.
 *
 * <pre>{@code
 * ModelServer.builder(PmmlModel.load(Path.of("risk.pmml"))).endpoint("credit").name("tree").run();
 * }</pre>
 *
 * <p>The signature is the file's: its active fields are the inputs (double and float become FP64, integer INT64,
 * boolean BOOL, everything else STRING), its output fields the outputs. Rows may be missing, and NaN counts as missing:
 * the file says what becomes of that. Where the endpoint has a number in another numeric type than the file, say so
 * with {@link #withInput}. Nothing in the file is executed as code.
 *
 * <p>Immutable and thread-safe.
 */
public final class PmmlModel implements Model {
    private final org.pmml4s.model.Model model;
    private final String description;
    private final Map<String, ColumnType> inputs;
    private final Map<String, ColumnType> outputs;

    private PmmlModel(
            org.pmml4s.model.Model model,
            String description,
            Map<String, ColumnType> inputs,
            Map<String, ColumnType> outputs) {
        this.model = model;
        this.description = description;
        this.inputs = inputs;
        this.outputs = outputs;
    }

    /**
     * Reads a file.
     *
     * @param file the PMML file
     * @return the model
     * @throws InvalidRequestException it cannot be read, or is no PMML that pmml4s evaluates
     */
    public static PmmlModel load(Path file) {
        if (!Files.isReadable(file)) {
            throw new InvalidRequestException(
                    file.getFileName() + " cannot be read: give the path of a PMML file",
                    Map.of("file", file.getFileName()));
        }
        org.pmml4s.model.Model model;
        try {
            model = org.pmml4s.model.Model.fromFile(file.toFile());
        } catch (Exception error) { // Scala throws checked exceptions that it does not declare
            throw new InvalidRequestException(
                    file.getFileName() + " cannot be read as PMML: " + error.getMessage(),
                    Map.of("file", file.getFileName()));
        }
        Map<String, ColumnType> inputs = new LinkedHashMap<>();
        for (Field field : model.inputFields()) {
            inputs.put(field.name(), typeOf(field.dataType().toString()));
        }
        Map<String, ColumnType> outputs = new LinkedHashMap<>();
        for (OutputField field : model.outputFields()) {
            outputs.put(field.name(), typeOf(field.dataType().toString()));
        }
        return new PmmlModel(model, "PMML file " + file.getFileName(), inputs, outputs);
    }

    /**
     * This model with another type of one input.
     *
     * @param name name of an active field
     * @param type the type that the endpoint has
     * @return a new model
     * @throws InvalidRequestException the file has no such field
     */
    public PmmlModel withInput(String name, ColumnType type) {
        if (!inputs.containsKey(name)) {
            throw new InvalidRequestException(
                    "the file has no input '" + name + "'; it has " + String.join(", ", inputs.keySet()),
                    Map.of("column", name));
        }
        Map<String, ColumnType> changed = new LinkedHashMap<>(inputs);
        changed.put(name, type);
        return new PmmlModel(model, description, changed, outputs);
    }

    /**
     * Serves a file until SIGTERM; endpoint, name and the rest come from the environment. What keeps it from that is
     * said on standard error, and ends the process with status 1.
     *
     * @param arguments the file
     */
    public static void main(String[] arguments) {
        if (arguments.length != 1) {
            System.err.println("usage: PmmlModel FILE, with RENDEZVOUS_ENDPOINT and RENDEZVOUS_MODEL set");
            System.exit(2);
        }
        try {
            ModelServer.builder(load(Path.of(arguments[0]))).run();
        } catch (RendezvousException error) {
            System.err.println("PmmlModel: " + error.getMessage());
            System.exit(1);
        }
    }

    @Override
    public ModelInfo info() {
        ModelDescription info = ModelDescription.builder()
                .task(model.isClassification() ? "classification" : model.isRegression() ? "regression" : "")
                .description(description);
        inputs.forEach((name, type) -> allowed(info.input(name, type).allowMissing(), type));
        outputs.forEach((name, type) -> allowed(info.output(name, type).allowMissing(), type));
        return info.build();
    }

    @Override
    public Frame score(Frame inputs) {
        Map<String, List<Object>> columns = new LinkedHashMap<>();
        outputs.keySet().forEach(name -> columns.put(name, new ArrayList<>(inputs.rows())));
        Map<String, Object> row = new HashMap<>();
        for (int index = 0; index < inputs.rows(); index++) {
            for (Column column : inputs.columns()) {
                row.put(column.name(), valueOf(column, index));
            }
            Map<String, Object> result = model.predict(row);
            columns.forEach((name, values) -> values.add(given(result.get(name), outputs.get(name))));
        }
        FrameBuilder frame = Frame.builder().rows(inputs.rows());
        columns.forEach((name, values) -> frame.column(name, outputs.get(name), values));
        return frame.build();
    }

    private static void allowed(ModelDescription column, ColumnType type) {
        if (type.isFloating()) {
            column.allowNan();
        }
    }

    private static Object valueOf(Column column, int row) {
        Object value = column.value(row);
        boolean isNan =
                value instanceof Double number && number.isNaN() || value instanceof Float single && single.isNaN();
        return isNan ? null : value;
    }

    /** pmml4s gives what it computed, not always in the declared type. */
    private static Object given(Object value, ColumnType type) {
        if (value == null) {
            return null;
        }
        return switch (type) {
            case STRING -> value.toString();
            case BOOL -> value instanceof Boolean ? value : Boolean.valueOf(value.toString());
            case INT64 -> value instanceof Number number ? (Object) number.longValue() : Long.valueOf(value.toString());
            default ->
                value instanceof Number number ? (Object) number.doubleValue() : Double.valueOf(value.toString());
        };
    }

    private static ColumnType typeOf(String dataType) {
        return switch (dataType) {
            case "double", "float", "real" -> ColumnType.FP64;
            case "integer" -> ColumnType.INT64;
            case "boolean" -> ColumnType.BOOL;
            default -> ColumnType.STRING;
        };
    }
}
