package io.rendezvous.probe;

import io.rendezvous.BooleanColumn;
import io.rendezvous.BytesColumn;
import io.rendezvous.Column;
import io.rendezvous.ColumnType;
import io.rendezvous.DoubleColumn;
import io.rendezvous.FloatColumn;
import io.rendezvous.Frame;
import io.rendezvous.FrameBuilder;
import io.rendezvous.IntColumn;
import io.rendezvous.LongColumn;
import io.rendezvous.Model;
import io.rendezvous.ModelDescription;
import io.rendezvous.StringColumn;
import io.rendezvous.v1.ModelInfo;
import java.io.IOException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** Answers what it gets, or misbehaves as the column {@code command} says. */
public final class ProbeModel implements Model {
    private static final String COMMAND = "command";
    private static final String STRICT = "strict";
    private static final double STRICT_VALUE = 0.5;

    private record Spec(ColumnType type, long... shape) {}

    private static final Map<String, Spec> ECHOED = echoed();

    /** Makes the model. */
    public ProbeModel() {}

    @Override
    public ModelInfo info() {
        ModelDescription info =
                ModelDescription.builder().task("conformance probe").input(COMMAND, ColumnType.STRING);
        ECHOED.forEach((name, spec) -> allowed(info.input(name, spec.type, spec.shape), spec));
        ECHOED.forEach((name, spec) -> allowed(info.output(name, spec.type, spec.shape), spec));
        return info.output(STRICT, ColumnType.FP64).build();
    }

    @Override
    public Frame score(Frame inputs) throws Exception {
        String[] command = commandOf(inputs.string(COMMAND)).split(":", 2);
        String argument = command.length > 1 ? command[1] : "";
        switch (command[0]) {
            case "fail" -> throw new IllegalStateException(argument);
            case "error" -> throw new AssertionError(argument);
            case "sleep" -> Thread.sleep(Long.parseLong(argument));
            case "hang" -> hang();
            case "crash" -> crash();
            default -> {}
        }
        return switch (command[0]) {
            case "wrong-rows" -> echo(inputs.slice(0, inputs.rows() - 1)).build();
            case "wrong-type" -> wrongType(inputs);
            case "missing-column" -> echoed(inputs, "").build();
            case "nan" -> strict(echoed(inputs, ""), inputs.rows(), Double.NaN).build();
            default -> echo(inputs).build();
        };
    }

    /** The first command that is not to echo decides for the whole table. */
    private static String commandOf(StringColumn commands) {
        for (int row = 0; row < commands.rows(); row++) {
            String command = commands.isMissing(row) ? "" : commands.get(row);
            if (!command.isEmpty() && !command.equals("echo")) {
                return command;
            }
        }
        return "echo";
    }

    private static FrameBuilder echo(Frame inputs) {
        return strict(echoed(inputs, ""), inputs.rows(), STRICT_VALUE);
    }

    private static Frame wrongType(Frame inputs) {
        String[] texts = new String[inputs.rows()];
        Arrays.fill(texts, "text");
        return strict(echoed(inputs, "fp64").string("fp64", texts), inputs.rows(), STRICT_VALUE)
                .build();
    }

    private static FrameBuilder strict(FrameBuilder outputs, int rows, double value) {
        double[] values = new double[rows];
        Arrays.fill(values, value);
        return outputs.fp64(STRICT, values);
    }

    /** Reads every column through its typed view and builds it anew, as an author would. */
    private static FrameBuilder echoed(Frame inputs, String without) {
        FrameBuilder outputs = Frame.builder().rows(inputs.rows());
        for (Column column : inputs.columns()) {
            if (column.name().equals(COMMAND) || column.name().equals(without)) {
                continue;
            }
            long[] shape = column.shape().stream().mapToLong(Long::longValue).toArray();
            add(outputs, column).shape(shape).missing(column.missing());
        }
        return outputs;
    }

    private static FrameBuilder add(FrameBuilder outputs, Column column) {
        String name = column.name();
        if (column instanceof DoubleColumn doubles) {
            return outputs.fp64(name, doubles.toArray());
        }
        if (column instanceof FloatColumn floats) {
            return column.type() == ColumnType.FP32
                    ? outputs.fp32(name, floats.toArray())
                    : outputs.fp16(name, floats.toArray());
        }
        if (column instanceof BooleanColumn booleans) {
            return outputs.bool(name, booleans.toArray());
        }
        if (column instanceof StringColumn strings) {
            return outputs.string(name, strings.toArray());
        }
        if (column instanceof BytesColumn bytes) {
            return outputs.bytes(name, bytes.toArray());
        }
        return column instanceof LongColumn longs ? addLong(outputs, longs) : addInt(outputs, (IntColumn) column);
    }

    private static FrameBuilder addLong(FrameBuilder outputs, LongColumn column) {
        return switch (column.type()) {
            case UINT32 -> outputs.uint32(column.name(), column.toArray());
            case UINT64 -> outputs.uint64(column.name(), column.toArray());
            default -> outputs.int64(column.name(), column.toArray());
        };
    }

    private static FrameBuilder addInt(FrameBuilder outputs, IntColumn column) {
        return switch (column.type()) {
            case UINT8 -> outputs.uint8(column.name(), column.toArray());
            case UINT16 -> outputs.uint16(column.name(), column.toArray());
            case INT8 -> outputs.int8(column.name(), column.toArray());
            case INT16 -> outputs.int16(column.name(), column.toArray());
            default -> outputs.int32(column.name(), column.toArray());
        };
    }

    private static void allowed(ModelDescription info, Spec spec) {
        info.allowMissing();
        if (spec.type.isFloating()) {
            info.allowNan();
        }
    }

    private static void hang() {
        long turns = 0;
        while (turns >= 0) {
            turns = (turns + 1) % Long.MAX_VALUE;
        }
    }

    private static void crash() throws IOException, InterruptedException {
        new ProcessBuilder(
                        "kill", "-KILL", String.valueOf(ProcessHandle.current().pid()))
                .start()
                .waitFor();
    }

    private static Map<String, Spec> echoed() {
        Map<String, Spec> specs = new LinkedHashMap<>();
        for (ColumnType type : new ColumnType[] {
            ColumnType.BOOL,
            ColumnType.UINT8,
            ColumnType.UINT16,
            ColumnType.UINT32,
            ColumnType.UINT64,
            ColumnType.INT8,
            ColumnType.INT16,
            ColumnType.INT32,
            ColumnType.INT64,
            ColumnType.FP16,
            ColumnType.FP32,
            ColumnType.FP64,
            ColumnType.STRING,
            ColumnType.BYTES
        }) {
            specs.put(type.name().toLowerCase(java.util.Locale.ROOT), new Spec(type));
        }
        specs.put("vector", new Spec(ColumnType.FP64, 3));
        specs.put("matrix", new Spec(ColumnType.INT32, 2, 2));
        specs.put("texts", new Spec(ColumnType.STRING, 2));
        specs.put("hollow", new Spec(ColumnType.FP64, 0));
        return specs;
    }
}
