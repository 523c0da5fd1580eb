import io.rendezvous.Column;
import io.rendezvous.Frame;
import io.rendezvous.ModelServer;
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
            for (int place = 0; place < logOdds.length; place++) {
                logOdds[place] += term(row, applicants, place);
            }
        }
        double[] probability = Arrays.stream(logOdds).map(sum -> 1 / (1 + Math.exp(-sum))).toArray();
        return Frame.builder().fp64("default_probability", probability).build();
    }

    private static double term(String[] row, Frame applicants, int place) {
        if (row[0].equals("intercept")) {
            return Double.parseDouble(row[1]);
        }
        Column column = applicants.column(row[1]);
        if (row[0].equals("number")) {
            double value =
                    column.isMissing(place) ? Double.parseDouble(row[3]) : applicants.int64(row[1]).get(place);
            return Double.parseDouble(row[2]) * value;
        }
        boolean holds = !column.isMissing(place) && applicants.string(row[1]).get(place).equals(row[2]);
        return holds ? Double.parseDouble(row[3]) : 0;
    }

    public static void main(String[] arguments) throws Exception {
        ModelServer.builder(Logit::score).name("logit").build().run();
    }
}
