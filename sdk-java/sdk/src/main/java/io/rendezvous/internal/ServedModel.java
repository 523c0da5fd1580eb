package io.rendezvous.internal;

import io.rendezvous.Frame;
import io.rendezvous.InvalidFrameException;
import io.rendezvous.InvalidOutputException;
import io.rendezvous.Model;
import io.rendezvous.ModelFailedException;
import io.rendezvous.RendezvousException;
import io.rendezvous.SignatureMismatchException;
import io.rendezvous.v1.ModelInfo;
import java.util.Map;

/** An author's model with the checks of what goes in and what comes out. */
public final class ServedModel {
    /** A model of this SDK that declares no inputs, and tells itself which of them do not fit. */
    public interface ChecksInputs {}

    private final Model model;
    private final SignatureCheck inputs;
    private final SignatureCheck outputs;

    /**
     * Wraps a model that was set up.
     *
     * @param model the author's
     * @param info what it declares
     */
    public ServedModel(Model model, ModelInfo info) {
        this.model = model;
        this.inputs = new SignatureCheck(info.getSignature().getInputsList(), "input of the model");
        this.outputs = new SignatureCheck(info.getSignature().getOutputsList(), "output of the model");
    }

    /**
     * Scores one table.
     *
     * @param table at least one row
     * @return as many rows, as declared
     * @throws SignatureMismatchException a declared input column is missing or is not as declared
     * @throws InvalidOutputException the model gave something else than it must
     * @throws ModelFailedException the author's code threw an exception of this SDK, by reading a column that is not
     *     there for instance: that is not the request's fault
     * @throws Exception whatever the author's code throws
     */
    public Frame score(Frame table) throws Exception {
        Frame output = scored(inputs.select(table));
        if (output == null) {
            throw new InvalidOutputException("the model gave null: it must give a frame");
        }
        if (output.toProto().getColumnsCount() == 0) {
            throw new InvalidOutputException("the model gave no columns: it must give at least one");
        }
        if (output.rows() != table.rows()) {
            throw new InvalidOutputException(
                    "the model gave " + output.rows() + " rows for " + table.rows() + ": it must give one for each",
                    Map.of("expected", table.rows(), "actual", output.rows()));
        }
        try {
            outputs.check(output);
        } catch (SignatureMismatchException error) {
            throw new InvalidOutputException(error.getMessage(), error.attributes());
        }
        return output;
    }

    private Frame scored(Frame table) throws Exception {
        try {
            return model.score(table);
        } catch (InvalidFrameException error) {
            // The input was checked before: what is not sound is what the author builds.
            throw new InvalidOutputException(
                    "the model's output is not a table: " + error.getMessage(), error.attributes());
        } catch (InvalidOutputException | ModelFailedException error) {
            throw error;
        } catch (RendezvousException error) {
            if (error instanceof SignatureMismatchException && model instanceof ChecksInputs) {
                throw error;
            }
            ModelFailedException failed = ParcelScorer.modelFailed(error);
            failed.initCause(error);
            throw failed;
        }
    }
}
