import io.rendezvous.Frame;
import io.rendezvous.LongColumn;
import io.rendezvous.ModelServer;
import io.rendezvous.StringColumn;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** A logistic regression by its coefficients: the Java one of three that must agree; the file is described in logit.py. */
public final class Logit {
    private static final List<String[]> ROWS = readRows();

    private static List<String[]> readRows() {
        try {
            return Files.readAllLines(Path.of(System.getenv("LOGIT_COEFFICIENTS"))).stream()
                    .map(line -> line.split("\t"))
                    .toList();
        } catch (IOException error) {
            throw new IllegalStateException("the coefficients cannot be read: " + error.getMessage(), error);
        }
    }

    static Frame score(Frame applicants) {
        double[] logOdds = new double[applicants.rows()];
        for (String[] row : ROWS) {
            add(row, applicants, logOdds);
        }
        double[] probability =
                Arrays.stream(logOdds).map(sum -> 1 / (1 + Math.exp(-sum))).toArray();
        return Frame.builder().fp64("default_probability", probability).build();
    }

    private static void add(String[] row, Frame applicants, double[] logOdds) {
        switch (row[0]) {
            case "intercept" -> addNumber(logOdds, Double.parseDouble(row[1]));
            case "number" -> addNumbers(logOdds, applicants.int64(row[1]), Double.parseDouble(row[2]), Double.parseDouble(row[3]));
            default -> addCategory(logOdds, applicants.string(row[1]), row[2], Double.parseDouble(row[3]));
        }
    }

    private static void addNumber(double[] logOdds, double value) {
        for (int place = 0; place < logOdds.length; place++) {
            logOdds[place] += value;
        }
    }

    private static void addNumbers(double[] logOdds, LongColumn column, double coefficient, double mean) {
        for (int place = 0; place < logOdds.length; place++) {
            logOdds[place] += coefficient * (column.isMissing(place) ? mean : column.get(place));
        }
    }

    private static void addCategory(double[] logOdds, StringColumn column, String label, double coefficient) {
        for (int place = 0; place < logOdds.length; place++) {
            if (!column.isMissing(place) && column.get(place).equals(label)) {
                logOdds[place] += coefficient;
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        ModelServer.builder(Logit::score).build().run();
    }
}
