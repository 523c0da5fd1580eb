import io.rendezvous.Frame;
import io.rendezvous.ModelServer;

/** A model that gives back what it gets, after ECHO_DELAY_MS; a number below 0 it refuses. The Java one of three. */
public final class Echo {
    private static final long DELAY_MS = Long.parseLong(System.getenv().getOrDefault("ECHO_DELAY_MS", "0"));

    static Frame score(Frame table) throws InterruptedException {
        double[] x = new double[table.rows()];
        for (int row = 0; row < x.length; row++) {
            x[row] = table.fp64("x").get(row);
            if (x[row] < 0) {
                throw new IllegalArgumentException("x is below 0");
            }
        }
        Thread.sleep(DELAY_MS);
        return Frame.builder().fp64("y", x).build();
    }

    public static void main(String[] arguments) throws Exception {
        ModelServer.builder(Echo::score).build().run();
    }
}
