import io.rendezvous.Client;
import io.rendezvous.InvalidRequestException;
import io.rendezvous.Outcome;
import java.time.Instant;
import java.util.List;

/** Records outcomes as the test expects them, some of them twice, and prints what a wrong one is told. */
public final class RecordOutcomes {
    private RecordOutcomes() {}

    /** Takes the router's address. */
    public static void main(String[] arguments) {
        try (Client client = new Client(arguments[0], "sum")) {
            List<Outcome> outcomes = List.of(
                    Outcome.truth(1)
                            .aboutRequest("r-1")
                            .withRow(0)
                            .withObservedAt(Instant.parse("2026-05-01T00:00:00Z"))
                            .withSource("collections"),
                    Outcome.verdict("too strict").aboutKey("customer_id", "C-17"),
                    Outcome.reward(-0.5).aboutRequest("r-2").withFeedbackId("mine-java"));
            client.record(outcomes);
            client.record(outcomes);
            try {
                client.record(List.of(Outcome.truth("x").aboutRequest("r").withOutput("lable")));
            } catch (InvalidRequestException error) {
                System.out.println(error.attributes().get("outcome.0"));
            }
        }
    }
}
