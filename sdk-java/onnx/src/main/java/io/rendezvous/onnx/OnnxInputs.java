package io.rendezvous.onnx;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.TensorInfo;
import io.rendezvous.BooleanColumn;
import io.rendezvous.Column;
import io.rendezvous.ColumnType;
import io.rendezvous.DoubleColumn;
import io.rendezvous.FloatColumn;
import io.rendezvous.Frame;
import io.rendezvous.IntColumn;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.LongColumn;
import io.rendezvous.ModelDescription;
import io.rendezvous.SignatureMismatchException;
import io.rendezvous.StringColumn;
import java.nio.ByteBuffer;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a file takes: columns to tensors. */
final class OnnxInputs {
    private record Input(OnnxJavaType type, ColumnType column, long[] shape) {}

    private final Map<String, Input> inputs = new LinkedHashMap<>();

    OnnxInputs(Map<String, NodeInfo> nodes) {
        nodes.forEach((name, node) -> {
            if (!(node.getInfo() instanceof TensorInfo tensor) || OnnxTypes.columnOf(tensor.type) == null) {
                throw new InvalidRequestException(
                        "input '" + name + "' is " + node.getInfo() + ": a frame cannot give that",
                        Map.of("column", name));
            }
            inputs.put(name, new Input(tensor.type, OnnxTypes.columnOf(tensor.type), tensor.getShape()));
        });
    }

    /** Declares the inputs, where columns go to them by name. */
    void describe(ModelDescription info) {
        if (inputs.size() == 1) {
            return;
        }
        inputs.forEach((name, input) -> {
            long[] shape = OnnxTypes.rowShape(input.shape);
            info.input(name, input.column, shape == null ? new long[0] : shape);
            if (input.column.isFloating()) {
                info.allowMissing().allowNan();
            }
        });
    }

    /** Makes the tensors of a table; the caller closes them. */
    void feed(Frame frame, OrtEnvironment environment, Map<String, OnnxTensor> feed) throws OrtException {
        for (Map.Entry<String, Input> entry : inputs.entrySet()) {
            String name = entry.getKey();
            Input input = entry.getValue();
            if (inputs.size() == 1 && !frame.has(name)) {
                feed.put(name, tensor(environment, input, frame.columns(), frame.rows()));
            } else {
                feed.put(name, tensor(environment, input, List.of(frame.column(name)), frame.rows()));
            }
        }
    }

    private static OnnxTensor tensor(OrtEnvironment environment, Input input, List<Column> columns, int rows)
            throws OrtException {
        int width = columns.stream().mapToInt(Column::elements).sum();
        long[] shape = shapeOf(input, columns, rows, width);
        if (input.type == OnnxJavaType.STRING) {
            return OnnxTensor.createTensor(environment, texts(columns, rows, width), shape);
        }
        if (input.type == OnnxJavaType.INT64 && columns.size() == 1 && columns.get(0) instanceof LongColumn longs) {
            refuseMissing(longs);
            return OnnxTensor.createTensor(environment, LongBuffer.wrap(longs.toArray()), shape);
        }
        double[] matrix = new double[rows * width];
        int first = 0;
        for (Column column : columns) {
            place(column, input, matrix, first, width);
            first += column.elements();
        }
        return numbers(environment, input.type, matrix, shape);
    }

    /** Columns side by side are a matrix; one column keeps its shape, and is a matrix of one where the file says so. */
    private static long[] shapeOf(Input input, List<Column> columns, int rows, int width) {
        Column only = columns.get(0);
        if (columns.size() > 1 || only.shape().isEmpty() && input.shape.length == 2) {
            return new long[] {rows, width};
        }
        long[] shape = new long[only.shape().size() + 1];
        shape[0] = rows;
        for (int index = 1; index < shape.length; index++) {
            shape[index] = only.shape().get(index - 1);
        }
        return shape;
    }

    private static void place(Column column, Input input, double[] matrix, int first, int width) {
        double[] values = numbersOf(column);
        if (!input.column.isFloating()) {
            refuseMissing(column);
        }
        int elements = column.elements();
        for (int index = 0; index < values.length; index++) {
            int row = index / elements;
            matrix[row * width + first + index % elements] = column.isMissing(row) ? Double.NaN : values[index];
        }
    }

    private static OnnxTensor numbers(OrtEnvironment environment, OnnxJavaType type, double[] values, long[] shape)
            throws OrtException {
        switch (type) {
            case DOUBLE:
                return OnnxTensor.createTensor(environment, DoubleBuffer.wrap(values), shape);
            case FLOAT:
                float[] floats = new float[values.length];
                for (int index = 0; index < values.length; index++) {
                    floats[index] = (float) values[index];
                }
                return OnnxTensor.createTensor(environment, FloatBuffer.wrap(floats), shape);
            case INT64:
                long[] longs =
                        Arrays.stream(values).mapToLong(value -> (long) value).toArray();
                return OnnxTensor.createTensor(environment, LongBuffer.wrap(longs), shape);
            case INT32:
                int[] ints =
                        Arrays.stream(values).mapToInt(value -> (int) value).toArray();
                return OnnxTensor.createTensor(environment, IntBuffer.wrap(ints), shape);
            default:
                ByteBuffer bytes = ByteBuffer.allocateDirect(values.length);
                for (double value : values) {
                    bytes.put((byte) (int) value);
                }
                return OnnxTensor.createTensor(environment, bytes.flip(), shape, type);
        }
    }

    private static String[] texts(List<Column> columns, int rows, int width) {
        String[] texts = new String[rows * width];
        int first = 0;
        for (Column column : columns) {
            if (!(column instanceof StringColumn strings)) {
                throw mismatch(column, "text is needed");
            }
            refuseMissing(column);
            for (int row = 0; row < rows; row++) {
                for (int element = 0; element < column.elements(); element++) {
                    texts[row * width + first + element] = strings.get(row, element);
                }
            }
            first += column.elements();
        }
        return texts;
    }

    private static double[] numbersOf(Column column) {
        if (column instanceof DoubleColumn doubles) {
            return doubles.toArray();
        }
        double[] values = new double[column.rows() * column.elements()];
        for (int index = 0; index < values.length; index++) {
            int row = index / column.elements();
            int element = index % column.elements();
            if (column instanceof FloatColumn floats) {
                values[index] = floats.get(row, element);
            } else if (column instanceof LongColumn longs) {
                values[index] = longs.get(row, element);
            } else if (column instanceof IntColumn ints) {
                values[index] = ints.get(row, element);
            } else if (column instanceof BooleanColumn booleans) {
                values[index] = booleans.get(row, element) ? 1 : 0;
            } else {
                throw mismatch(column, "a number is needed");
            }
        }
        return values;
    }

    private static void refuseMissing(Column column) {
        if (column.hasMissing()) {
            throw mismatch(column, "the file's input has no missing values");
        }
    }

    private static SignatureMismatchException mismatch(Column column, String why) {
        return new SignatureMismatchException(
                "column '" + column.name() + "' of type " + column.type() + " does not fit the ONNX file: " + why,
                Map.of("column", column.name()));
    }
}
