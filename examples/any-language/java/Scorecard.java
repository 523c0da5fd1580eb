import io.rendezvous.ColumnType;
import io.rendezvous.Frame;
import io.rendezvous.Model;
import io.rendezvous.ModelDescription;
import io.rendezvous.ModelServer;
import io.rendezvous.v1.ModelInfo;

/** The scorecard in Java, on the SDK; what it serves is told by RENDEZVOUS_ENDPOINT and others. */
public final class Scorecard implements Model {
    /** Serves until SIGTERM. */
    public static void main(String[] arguments) throws Exception {
        ModelServer.builder(new Scorecard()).run();
    }

    @Override
    public ModelInfo info() {
        return ModelDescription.builder()
                .task("classification")
                .labels("good", "bad")
                .description("A scorecard of hand-written rules.")
                .input("checking_account", ColumnType.STRING).allowMissing()
                .input("duration_months", ColumnType.INT64)
                .input("credit_amount", ColumnType.FP64).allowMissing()
                .input("age_years", ColumnType.INT64)
                .output("default_probability", ColumnType.FP64)
                .output("label", ColumnType.STRING)
                .build();
    }

    /** Follows the table in the README of this example. */
    @Override
    public Frame score(Frame applicants) {
        var account = applicants.string("checking_account");
        var months = applicants.int64("duration_months");
        var amount = applicants.fp64("credit_amount");
        var age = applicants.int64("age_years");
        var probabilities = new double[applicants.rows()];
        var labels = new String[applicants.rows()];
        for (int row = 0; row < applicants.rows(); row++) {
            double points = 15 + accountPoints(account.isMissing(row) ? null : account.get(row));
            if (months.get(row) <= 12) {
                points += 10;
            } else if (months.get(row) > 36) {
                points -= 10;
            }
            if (age.get(row) < 25) {
                points -= 5;
            }
            points -= amount.isMissing(row) ? 8 : amount.get(row) / 1000;
            probabilities[row] = 1 / (1 + Math.pow(2, points / 15));
            labels[row] = probabilities[row] >= 0.5 ? "bad" : "good";
        }
        return Frame.builder().fp64("default_probability", probabilities).string("label", labels).build();
    }

    private static double accountPoints(String account) {
        if (account == null) {
            return -5;
        }
        return switch (account) {
            case "... < 0 DM" -> -15;
            case "no checking account" -> 15;
            default -> 0;
        };
    }
}
