package io.rendezvous.onnx;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Writes an ONNX file of one operation, field by field (onnx.proto), so that no binary file is kept. */
final class OnnxFile {
    static final int FLOAT = 1;
    static final int INT64 = 7;
    static final int STRING = 8;
    static final int DOUBLE = 11;

    private interface Fields {
        void write(CodedOutputStream output) throws IOException;
    }

    /** A named tensor; 0 in the shape stands for the number of rows. */
    record Tensor(String name, int type, long... shape) {}

    private OnnxFile() {}

    static Path write(Path file, String operation, Tensor output, Tensor... inputs) throws IOException {
        ByteString graph = message(graphOf -> {
            ByteString node = message(nodeOf -> {
                for (Tensor input : inputs) {
                    nodeOf.writeString(1, input.name);
                }
                nodeOf.writeString(2, output.name);
                nodeOf.writeString(4, operation);
            });
            graphOf.writeBytes(1, node);
            graphOf.writeString(2, "graph");
            for (Tensor input : inputs) {
                graphOf.writeBytes(11, valueInfo(input));
            }
            graphOf.writeBytes(12, valueInfo(output));
        });
        ByteString model = message(modelOf -> {
            modelOf.writeInt64(1, 8);
            modelOf.writeBytes(7, graph);
            modelOf.writeBytes(8, message(opset -> opset.writeInt64(2, 17)));
        });
        return Files.write(file, model.toByteArray());
    }

    private static ByteString valueInfo(Tensor tensor) throws IOException {
        ByteString shape = message(output -> {
            for (long dimension : tensor.shape) {
                output.writeBytes(1, message(one -> {
                    if (dimension == 0) {
                        one.writeString(2, "N");
                    } else {
                        one.writeInt64(1, dimension);
                    }
                }));
            }
        });
        ByteString type = message(output -> {
            output.writeInt32(1, tensor.type);
            output.writeBytes(2, shape);
        });
        return message(output -> {
            output.writeString(1, tensor.name);
            output.writeBytes(2, message(typed -> typed.writeBytes(1, type)));
        });
    }

    private static ByteString message(Fields fields) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        CodedOutputStream output = CodedOutputStream.newInstance(bytes);
        fields.write(output);
        output.flush();
        return ByteString.copyFrom(bytes.toByteArray());
    }
}
