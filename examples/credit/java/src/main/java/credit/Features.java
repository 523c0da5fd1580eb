package credit;

import io.rendezvous.Frame;
import java.util.ArrayList;
import java.util.List;
import org.tribuo.Example;
import org.tribuo.Feature;
import org.tribuo.classification.Label;
import org.tribuo.impl.ArrayExample;

/**
 * Turns applicants into the sparse, named features that Tribuo takes: numbers as they are, a text as
 * {@code column=text} with the value 1. A text that was not seen in training is a feature that no tree asks for.
 */
final class Features {
  private static final List<String> NUMBERS =
      List.of(
          "duration_months",
          "credit_amount",
          "installment_rate",
          "residence_since",
          "age_years",
          "existing_credits",
          "dependents");
  private static final List<String> TEXTS =
      List.of(
          "checking_account",
          "credit_history",
          "purpose",
          "savings",
          "employed_since",
          "other_debtors",
          "property",
          "other_installment_plans",
          "housing",
          "job",
          "telephone",
          "foreign_worker");

  private Features() {}

  /** Returns one example for each row of the frame, all with the label {@code label}. */
  static List<Example<Label>> of(Frame applicants, Label label) {
    List<Example<Label>> examples = new ArrayList<>(applicants.rows());
    for (int row = 0; row < applicants.rows(); row++) {
      examples.add(new ArrayExample<>(label));
    }
    for (String name : NUMBERS) {
      var column = applicants.int64(name);
      for (int row = 0; row < applicants.rows(); row++) {
        examples.get(row).add(new Feature(name, column.get(row)));
      }
    }
    for (String name : TEXTS) {
      var column = applicants.string(name);
      for (int row = 0; row < applicants.rows(); row++) {
        examples.get(row).add(new Feature(name + "=" + column.get(row), 1.0));
      }
    }
    return examples;
  }

  static boolean isNumber(String column) {
    return NUMBERS.contains(column);
  }
}
