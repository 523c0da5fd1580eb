package io.rendezvous.onnx;

import ai.onnxruntime.OnnxJavaType;
import io.rendezvous.ColumnType;
import java.util.Arrays;

/** Types and shapes of tensors as those of columns. */
final class OnnxTypes {
    private OnnxTypes() {}

    /** Type of the column that holds such elements; null where none does. */
    static ColumnType columnOf(OnnxJavaType type) {
        return switch (type) {
            case FLOAT -> ColumnType.FP32;
            case DOUBLE -> ColumnType.FP64;
            case INT64 -> ColumnType.INT64;
            case INT32 -> ColumnType.INT32;
            case INT8 -> ColumnType.INT8;
            case UINT8 -> ColumnType.UINT8;
            case BOOL -> ColumnType.BOOL;
            case STRING -> ColumnType.STRING;
            default -> null;
        };
    }

    /** Shape of one row's value: a matrix of one column holds scalars; null where the file does not say. */
    static long[] rowShape(long[] shape) {
        long[] rest = shape.length == 0 ? shape : Arrays.copyOfRange(shape, 1, shape.length);
        if (rest.length == 1 && rest[0] == 1) {
            return new long[0];
        }
        return Arrays.stream(rest).anyMatch(dimension -> dimension < 0) ? null : rest;
    }
}
