package io.rendezvous.onnx;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.OrtSession.SessionOptions;
import io.rendezvous.Frame;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.Model;
import io.rendezvous.ModelDescription;
import io.rendezvous.ModelServer;
import io.rendezvous.RendezvousException;
import io.rendezvous.internal.ServedModel;
import io.rendezvous.v1.ModelInfo;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/**
 * An ONNX file as a model, run by ONNX Runtime on the processor.
 *
 * <pre>{@code
 * ModelServer.builder(OnnxModel.load(Path.of("risk.onnx"))).endpoint("credit").name("net").run();
 * }</pre>
 *
 * <p>A file with one input gets all columns side by side, in the order in which they were sent, unless a column has
 * the input's name; a file with several inputs gets each column under its name, and declares them. Numbers are
 * converted to the input's type; a missing number is NaN, and refused where the type has none. An output of shape
 * (rows, n) stays one column of shape [n]; maps of class to probability (ZipMap) become one column for each class.
 * Nothing in the file is executed as code.
 *
 * <p>Not thread-safe beyond what {@link Model} asks for.
 */
public final class OnnxModel implements Model, ServedModel.ChecksInputs {
    private final OrtEnvironment environment;
    private final OrtSession session;
    private final String description;
    private final OnnxInputs inputs;
    private final OnnxOutputs outputs;

    private OnnxModel(OrtEnvironment environment, OrtSession session, String description) throws OrtException {
        this.environment = environment;
        this.session = session;
        this.description = description;
        this.inputs = new OnnxInputs(session.getInputInfo());
        this.outputs = new OnnxOutputs(session.getOutputInfo());
    }

    /**
     * Reads a file; a run uses one thread.
     *
     * @param file the ONNX file
     * @return the model
     * @throws InvalidRequestException it cannot be read, or an input has a type that a frame cannot give
     */
    public static OnnxModel load(Path file) {
        return load(file, 1);
    }

    /**
     * Reads a file.
     *
     * @param file the ONNX file
     * @param threads threads of one run
     * @return the model
     * @throws InvalidRequestException it cannot be read, or an input has a type that a frame cannot give
     */
    public static OnnxModel load(Path file, int threads) {
        if (!Files.isReadable(file)) {
            throw new InvalidRequestException(
                    file.getFileName() + " cannot be read: give the path of an ONNX file",
                    Map.of("file", file.getFileName()));
        }
        return DeepStack.call(() -> open(file, threads));
    }

    private static OnnxModel open(Path file, int threads) {
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        try (SessionOptions options = new SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            OrtSession session = environment.createSession(file.toString(), options);
            return new OnnxModel(environment, session, "ONNX file " + file.getFileName());
        } catch (OrtException error) {
            throw new InvalidRequestException(
                    file.getFileName() + " cannot be read as ONNX: " + error.getMessage(),
                    Map.of("file", file.getFileName()));
        }
    }

    /**
     * Serves a file until SIGTERM; endpoint, name and the rest come from the environment. What keeps it from that is
     * said on standard error, and ends the process with status 1.
     *
     * @param arguments the file
     */
    public static void main(String[] arguments) {
        if (arguments.length != 1) {
            System.err.println("usage: OnnxModel FILE, with RENDEZVOUS_ENDPOINT and RENDEZVOUS_MODEL set");
            System.exit(2);
        }
        try {
            ModelServer.builder(load(Path.of(arguments[0]))).run();
        } catch (RendezvousException error) {
            System.err.println("OnnxModel: " + error.getMessage());
            System.exit(1);
        }
    }

    @Override
    public ModelInfo info() {
        ModelDescription info = ModelDescription.builder().description(description);
        inputs.describe(info);
        outputs.describe(info);
        return info.build();
    }

    @Override
    public Frame score(Frame frame) throws OrtException {
        Map<String, OnnxTensor> feed = new HashMap<>();
        try {
            inputs.feed(frame, environment, feed);
            try (OrtSession.Result result = session.run(feed)) {
                return outputs.frame(result, frame.rows());
            }
        } finally {
            feed.values().forEach(OnnxTensor::close);
        }
    }

    @Override
    public void close() {
        try {
            session.close();
        } catch (OrtException error) {
            throw new IllegalStateException("the ONNX session did not close", error);
        }
    }
}
