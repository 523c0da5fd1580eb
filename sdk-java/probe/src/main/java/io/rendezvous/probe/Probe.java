package io.rendezvous.probe;

import io.rendezvous.Model;
import io.rendezvous.ModelServer;

/**
 * The model program that the conformance kit runs, or with {@code RENDEZVOUS_PROBE=trivial} (or the argument
 * {@code trivial}) the benchmark.
 *
 * <p>Endpoint, name and the rest come from the environment, as {@link io.rendezvous.ServeOptions} says.
 */
public final class Probe {
    private static final String TRIVIAL = "trivial";

    private Probe() {}

    /**
     * Serves until SIGTERM.
     *
     * @param arguments {@code trivial}, or none
     */
    public static void main(String[] arguments) {
        boolean trivial =
                arguments.length > 0 ? TRIVIAL.equals(arguments[0]) : TRIVIAL.equals(System.getenv("RENDEZVOUS_PROBE"));
        Model model = trivial ? new TrivialModel() : new ProbeModel();
        ModelServer.builder(model).run();
    }
}
