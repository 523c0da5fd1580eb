package credit;

import io.rendezvous.ColumnType;
import io.rendezvous.Frame;
import io.rendezvous.Model;
import io.rendezvous.ModelDescription;
import io.rendezvous.ModelServer;
import io.rendezvous.v1.ModelInfo;
import java.io.IOException;
import java.nio.file.Path;
import org.tribuo.Example;
import org.tribuo.classification.Label;

/**
 * A challenger: a random forest, trained and served in Java.
 *
 * <pre>
 * java -cp 'credit-forest.jar:lib/*' credit.Forest train applicants.csv forest.pb
 * java -cp 'credit-forest.jar:lib/*' credit.Forest serve forest.pb
 * </pre>
 */
public final class Forest implements Model {
  private static final double THRESHOLD = 0.5;
  private static final Label UNKNOWN = new Label("unknown");

  private final Path file;
  private org.tribuo.Model<Label> forest;

  /** A forest that {@code train} wrote to this file. */
  public Forest(Path file) {
    this.file = file;
  }

  @Override
  public ModelInfo info() {
    return ModelDescription.builder()
        .output("default_probability", ColumnType.FP64)
        .output("label", ColumnType.STRING)
        .task("classification")
        .labels("good", "bad")
        .description("Random forest of Tribuo.")
        .build();
  }

  @Override
  @SuppressWarnings("unchecked")
  public void setup() throws IOException {
    forest = (org.tribuo.Model<Label>) org.tribuo.Model.deserializeFromFile(file);
  }

  @Override
  public Frame score(Frame applicants) {
    double[] probability =
        Features.of(applicants, UNKNOWN).stream().mapToDouble(this::defaultProbability).toArray();
    String[] label = new String[probability.length];
    for (int row = 0; row < label.length; row++) {
      label[row] = probability[row] >= THRESHOLD ? "bad" : "good";
    }
    return Frame.builder().fp64("default_probability", probability).string("label", label).build();
  }

  private double defaultProbability(Example<Label> applicant) {
    return forest.predict(applicant).getOutputScores().get("bad").getScore();
  }

  /** Trains or serves. */
  public static void main(String[] arguments) throws Exception {
    if (arguments.length == 3 && arguments[0].equals("train")) {
      Training.train(Path.of(arguments[1]), Path.of(arguments[2]));
    } else if (arguments.length == 2 && arguments[0].equals("serve")) {
      ModelServer.builder(new Forest(Path.of(arguments[1]))).endpoint("credit").name("forest").build().run();
    } else {
      System.err.println("usage: credit.Forest train APPLICANTS.csv FOREST.pb | serve FOREST.pb");
      System.exit(2);
    }
  }
}
