package io.rendezvous.onnx;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxMap;
import ai.onnxruntime.OnnxSequence;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import io.rendezvous.Frame;
import io.rendezvous.FrameBuilder;
import io.rendezvous.InvalidOutputException;
import io.rendezvous.ModelDescription;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a file gives: tensors to columns. */
final class OnnxOutputs {
    private final Map<String, NodeInfo> outputs;

    OnnxOutputs(Map<String, NodeInfo> outputs) {
        this.outputs = outputs;
    }

    /** Declares the outputs, where the file tells type and shape of all of them. */
    void describe(ModelDescription info) {
        boolean told = outputs.values().stream()
                .allMatch(node -> node.getInfo() instanceof TensorInfo tensor
                        && OnnxTypes.columnOf(tensor.type) != null
                        && OnnxTypes.rowShape(tensor.getShape()) != null);
        if (!told) {
            return;
        }
        outputs.forEach((name, node) -> {
            TensorInfo tensor = (TensorInfo) node.getInfo();
            info.output(name, OnnxTypes.columnOf(tensor.type), OnnxTypes.rowShape(tensor.getShape()));
            if (OnnxTypes.columnOf(tensor.type).isFloating()) {
                info.allowNan();
            }
        });
    }

    Frame frame(OrtSession.Result result, int rows) throws OrtException {
        FrameBuilder frame = Frame.builder();
        for (Map.Entry<String, OnnxValue> entry : result) {
            if (entry.getValue() instanceof OnnxTensor tensor) {
                add(frame, entry.getKey(), tensor, rows);
            } else if (entry.getValue() instanceof OnnxSequence sequence) {
                addMaps(frame, entry.getKey(), sequence);
            } else {
                throw new InvalidOutputException(
                        "the file's output '" + entry.getKey() + "' is "
                                + entry.getValue().getInfo() + ": only tensors and sequences of maps become columns",
                        Map.of("column", entry.getKey()));
            }
        }
        return frame.build();
    }

    private static void add(FrameBuilder frame, String name, OnnxTensor tensor, int rows) throws OrtException {
        long[] shape = tensor.getInfo().getShape();
        if (shape.length == 0 || shape[0] != rows) {
            throw new InvalidOutputException(
                    "the file's output '" + name + "' has the shape " + java.util.Arrays.toString(shape) + " for "
                            + rows + " rows: its first dimension must be the rows",
                    Map.of("column", name, "expected", rows));
        }
        addValues(frame, name, tensor);
        frame.shape(OnnxTypes.rowShape(shape));
    }

    private static void addValues(FrameBuilder frame, String name, OnnxTensor tensor) throws OrtException {
        switch (tensor.getInfo().type) {
            case FLOAT -> {
                float[] values = new float[tensor.getFloatBuffer().remaining()];
                tensor.getFloatBuffer().get(values);
                frame.fp32(name, values);
            }
            case DOUBLE -> {
                double[] values = new double[tensor.getDoubleBuffer().remaining()];
                tensor.getDoubleBuffer().get(values);
                frame.fp64(name, values);
            }
            case INT64 -> {
                long[] values = new long[tensor.getLongBuffer().remaining()];
                tensor.getLongBuffer().get(values);
                frame.int64(name, values);
            }
            case INT32 -> {
                int[] values = new int[tensor.getIntBuffer().remaining()];
                tensor.getIntBuffer().get(values);
                frame.int32(name, values);
            }
            case STRING -> frame.string(name, texts(tensor.getValue()));
            default -> addBytes(frame, name, tensor);
        }
    }

    private static void addBytes(FrameBuilder frame, String name, OnnxTensor tensor) {
        ByteBuffer buffer = tensor.getByteBuffer();
        int[] values = new int[buffer.remaining()];
        boolean[] booleans = new boolean[values.length];
        for (int index = 0; index < values.length; index++) {
            values[index] = buffer.get(index);
            booleans[index] = values[index] != 0;
        }
        switch (tensor.getInfo().type) {
            case BOOL -> frame.bool(name, booleans);
            case INT8 -> frame.int8(name, values);
            case UINT8 ->
                frame.uint8(
                        name,
                        java.util.Arrays.stream(values)
                                .map(value -> value & 0xff)
                                .toArray());
            default ->
                throw new InvalidOutputException(
                        "the file's output '" + name + "' is of type " + tensor.getInfo().type
                                + ", which no column has: convert it in the file",
                        Map.of("column", name));
        }
    }

    private static String[] texts(Object value) {
        if (value instanceof String[] flat) {
            return flat;
        }
        return java.util.Arrays.stream((Object[]) value)
                .flatMap(row -> java.util.Arrays.stream(texts(row)))
                .toArray(String[]::new);
    }

    private static void addMaps(FrameBuilder frame, String name, OnnxSequence sequence) throws OrtException {
        Map<Object, double[]> columns = new LinkedHashMap<>();
        List<? extends OnnxValue> maps = sequence.getValue();
        for (int row = 0; row < maps.size(); row++) {
            if (!(maps.get(row) instanceof OnnxMap map)) {
                throw new InvalidOutputException(
                        "the file's output '" + name + "' is a sequence of other things than maps",
                        Map.of("column", name));
            }
            for (Map.Entry<?, ?> entry : map.getValue().entrySet()) {
                double[] column = columns.computeIfAbsent(entry.getKey(), key -> new double[maps.size()]);
                column[row] = ((Number) entry.getValue()).doubleValue();
            }
        }
        columns.forEach((key, values) -> frame.fp64(name + "_" + key, values));
    }
}
