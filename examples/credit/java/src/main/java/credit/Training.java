package credit;

import io.rendezvous.Frame;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.tribuo.Example;
import org.tribuo.Model;
import org.tribuo.MutableDataset;
import org.tribuo.classification.Label;
import org.tribuo.classification.LabelFactory;
import org.tribuo.classification.dtree.CARTClassificationTrainer;
import org.tribuo.classification.dtree.impurity.GiniIndex;
import org.tribuo.classification.ensemble.FullyWeightedVotingCombiner;
import org.tribuo.common.tree.RandomForestTrainer;
import org.tribuo.data.csv.CSVIterator;
import org.tribuo.provenance.SimpleDataSourceProvenance;

/** Trains the random forest on applicants whose loans have ended. */
final class Training {
  private static final int TREES = 60;
  private static final int DEPTH = 8;
  private static final int LEAF = 4;
  private static final float SHARE_OF_FEATURES = 0.25f;
  private static final long SEED = 7;

  private Training() {}

  /**
   * Trains and saves a forest.
   *
   * @param applicants CSV file with the input columns and {@code outcome}, good or bad
   * @param model file to write
   */
  static void train(Path applicants, Path model) throws IOException {
    LabelFactory labels = new LabelFactory();
    var source = new SimpleDataSourceProvenance("credit", labels);
    var data = new MutableDataset<>(source, labels);
    for (Example<Label> example : read(applicants)) {
      data.add(example);
    }
    var tree = new CARTClassificationTrainer(DEPTH, LEAF, 0.0f, SHARE_OF_FEATURES, false, new GiniIndex(), SEED);
    var forest = new RandomForestTrainer<>(tree, new FullyWeightedVotingCombiner(), TREES, SEED);
    Model<Label> trained = forest.train(data);
    trained.serializeToFile(model);
  }

  private static List<Example<Label>> read(Path applicants) throws IOException {
    List<Example<Label>> examples = new ArrayList<>();
    try (var rows = new CSVIterator(applicants.toUri())) {
      while (rows.hasNext()) {
        Map<String, String> row = rows.next().getRowData();
        examples.addAll(Features.of(frameOf(row), new Label(row.get("outcome"))));
      }
    }
    return examples;
  }

  private static Frame frameOf(Map<String, String> row) {
    var frame = Frame.builder();
    row.forEach(
        (column, text) -> {
          if (Features.isNumber(column)) {
            frame.int64(column, Long.parseLong(text));
          } else {
            frame.string(column, text);
          }
        });
    return frame.build();
  }
}
