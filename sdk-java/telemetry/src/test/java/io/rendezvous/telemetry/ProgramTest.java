package io.rendezvous.telemetry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.proto.common.v1.KeyValue;
import io.opentelemetry.proto.trace.v1.ResourceSpans;
import io.opentelemetry.proto.trace.v1.Span;
import io.rendezvous.Client;
import io.rendezvous.ClientOptions;
import io.rendezvous.Frame;
import io.rendezvous.ModelFailedException;
import io.rendezvous.ModelServer;
import io.rendezvous.ScoreOptions;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Model programs that the environment alone tells to export traces, and how to log. */
@Timeout(60)
class ProgramTest {
    private static final String SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    private static final String UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    private OtlpReceiver receiver;

    /** Draws a span of its own; a negative x fails. */
    static final class Program {
        private Program() {}

        public static void main(String[] arguments) {
            ModelServer.builder(inputs -> {
                        GlobalOpenTelemetry.getTracer("author")
                                .spanBuilder("look up")
                                .startSpan()
                                .end();
                        if (inputs.fp64("x").get(0) < 0) {
                            throw new IllegalStateException("negative\n\"quoted\" \u00fc");
                        }
                        return inputs;
                    })
                    .options(options -> options.postbox(false))
                    .run();
        }
    }

    @BeforeEach
    void start() throws IOException {
        receiver = new OtlpReceiver();
    }

    @AfterEach
    void stop() {
        receiver.close();
    }

    /** What a program said on standard error, after it was asked and drained. */
    private static List<String> run(Map<String, String> environment, double x, ScoreOptions options) throws Exception {
        ProcessBuilder program = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                Program.class.getName());
        program.environment().keySet().removeIf(name -> name.startsWith("OTEL_") || name.startsWith("RENDEZVOUS_"));
        program.environment().put("RENDEZVOUS_ENDPOINT", "e");
        program.environment().put("RENDEZVOUS_MODEL", "m");
        program.environment().put("RENDEZVOUS_VERSION", "7");
        program.environment().putAll(environment);
        Process process = program.start();
        try (BufferedReader output = process.inputReader();
                BufferedReader log = process.errorReader()) {
            String ready = output.readLine();
            assertTrue(ready != null && ready.startsWith("ready: "), "said " + ready);
            ask(ready.substring(ready.lastIndexOf(' ') + 1), x, options);
            process.toHandle().destroy(); // the process would close its streams
            List<String> lines = log.lines().collect(Collectors.toCollection(ArrayList::new));
            assertTrue(process.waitFor(10, TimeUnit.SECONDS), "does not end");
            assertEquals(0, process.exitValue(), String.join("\n", lines));
            return lines;
        } finally {
            process.destroyForcibly();
        }
    }

    private static void ask(String address, double x, ScoreOptions options) {
        try (Client client =
                new Client(address, "", ClientOptions.DEFAULT, io.grpc.InsecureChannelCredentials.create())) {
            Frame rows = Frame.builder().fp64("x", x).build();
            if (x < 0) {
                assertThrows(ModelFailedException.class, () -> client.score(rows, options));
            } else {
                client.score(rows, options);
            }
        }
    }

    private Map<String, Span> spansByName() {
        Map<String, Span> spans = new HashMap<>();
        for (ResourceSpans resource : receiver.received()) {
            resource.getScopeSpansList()
                    .forEach(scope -> scope.getSpansList().forEach(span -> spans.put(span.getName(), span)));
        }
        return spans;
    }

    private Map<String, String> resource() {
        Map<String, String> attributes = new TreeMap<>();
        for (KeyValue found : receiver.received().get(0).getResource().getAttributesList()) {
            attributes.put(found.getKey(), found.getValue().getStringValue());
        }
        return attributes;
    }

    /** An OTLP address suffices: the request's span and the author's own arrive before the process has ended. */
    @ParameterizedTest
    @ValueSource(strings = {"grpc", "http/protobuf"})
    void exports(String protocol) throws Exception {
        run(
                Map.of(
                        "OTEL_EXPORTER_OTLP_ENDPOINT",
                        receiver.endpoint(protocol),
                        "OTEL_EXPORTER_OTLP_PROTOCOL",
                        protocol),
                1,
                ScoreOptions.NONE.withTraceContext(SAMPLED, ""));
        Map<String, Span> spans = spansByName();
        Span served = spans.get("rendezvous.v1.Score/Score");
        assertEquals(
                served.getSpanId(),
                spans.get("look up").getParentSpanId(),
                () -> spans.keySet().toString());
        Map<String, String> resource = resource();
        assertEquals("m", resource.get("service.name"));
        assertEquals("e", resource.get("service.namespace"));
        assertEquals("7", resource.get("service.version"));
        assertTrue(resource.get("service.instance.id").length() > 0);
    }

    /** What the variables say of the process wins; the others are completed. */
    @Test
    void variablesNameTheService() throws Exception {
        run(
                Map.of(
                        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.endpoint("grpc"),
                        "OTEL_SERVICE_NAME", "mine",
                        "OTEL_RESOURCE_ATTRIBUTES", "service.version=8"),
                1,
                ScoreOptions.NONE);
        assertEquals("mine", resource().get("service.name"));
        assertEquals("8", resource().get("service.version"));
        assertEquals("e", resource().get("service.namespace"));
    }

    /** Nothing is exported unless it is asked for; a disabled SDK and no exporter win over an address. */
    @ParameterizedTest
    @ValueSource(
            strings = {"", "OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none", "OTEL_TRACES_SAMPLER=always_off"})
    void isOffOtherwise(String variable) throws Exception {
        Map<String, String> environment = new HashMap<>();
        if (!variable.isEmpty()) {
            environment.put("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint("grpc"));
            environment.put(variable.split("=")[0], variable.split("=")[1]);
        }
        run(environment, 1, ScoreOptions.NONE.withTraceContext(SAMPLED, ""));
        assertTrue(receiver.received().isEmpty());
    }

    /** A request that asks for its trace is recorded whatever the sampler says. */
    @Test
    void forcedTracesAreRecorded() throws Exception {
        Map<String, String> never =
                Map.of("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint("grpc"), "OTEL_TRACES_SAMPLER", "always_off");
        run(never, 1, ScoreOptions.NONE.withForcedTrace());
        assertTrue(spansByName().containsKey("rendezvous.v1.Score/Score"));
    }

    /** A request that asks for its trace has no span if it brings a context that is not sampled. */
    @Test
    void unsampledContextsStayUnrecorded() throws Exception {
        Map<String, String> always =
                Map.of("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint("grpc"), "OTEL_TRACES_SAMPLER", "always_on");
        run(always, 1, ScoreOptions.NONE.withTraceContext(UNSAMPLED, "").withForcedTrace());
        assertFalse(spansByName().containsKey("rendezvous.v1.Score/Score"));
    }

    /** A collector that is not there, and variables that make no sense, are logged; the model serves and drains. */
    @ParameterizedTest
    @ValueSource(strings = {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_EXPORTER=nonsense"})
    void servesWithoutACollector(String variable) throws Exception {
        List<String> log = run(Map.of(variable.split("=")[0], variable.split("=")[1]), 1, ScoreOptions.NONE);
        String all = String.join("\n", log);
        assertTrue(all.contains("no traces: ") || all.contains("the last spans were not all sent"), all);
    }

    /** JSON logs: each line an object with its time, and what is known of process and request. */
    @Test
    void logsJson() throws Exception {
        ScoreOptions request = ScoreOptions.NONE.withTraceContext(SAMPLED, "").withRequestId("r-1");
        Map<String, String> environment =
                Map.of("RENDEZVOUS_LOG_FORMAT", "json", "OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint("grpc"));
        List<JsonObject> lines = run(environment, -1, request).stream()
                .map(line -> JsonParser.parseString(line).getAsJsonObject())
                .toList();
        JsonObject failed =
                lines.stream().filter(line -> line.has("request_id")).findAny().orElseThrow();
        assertTrue(failed.get("time").getAsString().matches("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z"));
        assertEquals("warning", failed.get("level").getAsString());
        assertEquals("model m:7 failed on one request", failed.get("event").getAsString());
        assertEquals("r-1", failed.get("request_id").getAsString());
        assertEquals("MODEL_FAILED", failed.get("error_code").getAsString());
        assertEquals("0af7651916cd43dd8448eb211c80319c", failed.get("trace_id").getAsString());
        assertTrue(failed.get("exception").getAsString().contains("negative\n\"quoted\" \u00fc\n\tat "));
        for (JsonObject line : lines) {
            assertEquals("e", line.get("endpoint").getAsString());
            assertEquals("m", line.get("model").getAsString());
            assertEquals("7", line.get("version").getAsString());
            assertTrue(line.has("replica"));
        }
        assertTrue(
                lines.stream().anyMatch(line -> line.get("event").getAsString().startsWith("draining")));
    }

    /** Text logs are one line each, and errors alone where only those are wanted. */
    @Test
    void logsText() throws Exception {
        List<String> lines = run(Map.of(), -1, ScoreOptions.NONE);
        String failure = "[0-9-]{10} [0-9:,]{12} WARNING io\\.rendezvous\\..*: model m:7 failed on one request";
        assertTrue(lines.stream().anyMatch(line -> line.matches(failure)), String.join("\n", lines));
        assertEquals(List.of(), run(Map.of("RENDEZVOUS_LOG_LEVEL", "error"), -1, ScoreOptions.NONE));
    }

    /** A format or level that is not known is warned of once, with what is allowed; case and blanks do not matter. */
    @ParameterizedTest
    @CsvSource({
        "RENDEZVOUS_LOG_FORMAT, jsno, 'text, json'",
        "RENDEZVOUS_LOG_LEVEL, verbose, 'debug, info, warning, error'",
        "RENDEZVOUS_LOG_FORMAT, ' Text ', ",
        "RENDEZVOUS_LOG_LEVEL, Warning, ",
        "RENDEZVOUS_LOG_LEVEL, '', "
    })
    void warnsOfUnknownChoices(String variable, String value, String allowed) throws Exception {
        List<String> warnings = run(Map.of(variable, value), 1, ScoreOptions.NONE).stream()
                .filter(line -> line.contains(" WARNING ") && line.contains(variable))
                .map(line -> line.substring(line.indexOf(variable)))
                .toList();
        List<String> expected = allowed == null
                ? List.of()
                : List.of(variable + " is '" + value + "', which is not known and not heeded: use one of " + allowed);
        assertEquals(expected, warnings);
    }
}
