package io.rendezvous.internal;

import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;
import io.rendezvous.ServeOptions;
import java.time.Duration;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.ServiceLoader;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The OpenTelemetry of one served model: the author's, else the global one, else one that the {@code OTEL_*} variables
 * ask for, else none.
 */
final class Telemetry {
    private static final Logger LOG = LoggerFactory.getLogger(Telemetry.class);
    private static volatile boolean globalIsOurs;

    private final OpenTelemetry telemetry;
    private final TraceExport.Exporting exporting;

    private Telemetry(OpenTelemetry telemetry, TraceExport.Exporting exporting) {
        this.telemetry = telemetry;
        this.exporting = exporting;
    }

    /**
     * Finds the author's, or sets one up.
     *
     * @param given what the author named; null: nothing
     * @param options of the model, of which the resource is made
     * @param replica name of this process
     */
    static Telemetry open(OpenTelemetry given, ServeOptions options, String replica) {
        if (given != null) {
            return new Telemetry(given, null);
        }
        OpenTelemetry global = GlobalOpenTelemetry.getOrNoop();
        if (!Traces.isOff(global) && !globalIsOurs) {
            return new Telemetry(global, null);
        }
        if (isAskedFor()) {
            Iterator<TraceExport> found = ServiceLoader.load(TraceExport.class).iterator();
            if (found.hasNext()) {
                return exporting(found.next(), options, replica);
            }
            LOG.warn(
                    "OTEL_* variables ask for traces, and nothing here exports them: add the artefact"
                            + " io.rendezvous:rendezvous-telemetry, or set up OpenTelemetry's SDK before the server is started");
        }
        return new Telemetry(OpenTelemetry.noop(), null);
    }

    private static Telemetry exporting(TraceExport export, ServeOptions options, String replica) {
        Map<String, String> resource = new LinkedHashMap<>();
        resource.put("service.name", options.name());
        resource.put("service.namespace", options.endpoint());
        resource.put("service.version", options.version());
        resource.put("service.instance.id", replica);
        boolean asGlobal = !GlobalOpenTelemetry.isSet();
        if (!asGlobal && !globalIsOurs) {
            LOG.warn("GlobalOpenTelemetry was asked for before the server was started, so the model's own spans"
                    + " are not exported: ask for it in setup() or score()");
        }
        try {
            TraceExport.Exporting made = export.open(resource, asGlobal);
            globalIsOurs = globalIsOurs || asGlobal;
            return new Telemetry(made.telemetry(), made);
        } catch (RuntimeException error) {
            // A model that serves without traces is better than one that does not serve.
            LOG.error("no traces: the OTEL_* variables are not understood", error);
            return new Telemetry(OpenTelemetry.noop(), null);
        }
    }

    /** Tells whether this process is to export traces: an OTLP address or an exporter is named, and the SDK not disabled. */
    static boolean isAskedFor() {
        if (setting("OTEL_SDK_DISABLED").equalsIgnoreCase("true")) {
            return false;
        }
        String exporter = setting("OTEL_TRACES_EXPORTER");
        if (!exporter.isEmpty()) {
            return !exporter.equals("none");
        }
        return !setting("OTEL_EXPORTER_OTLP_ENDPOINT").isEmpty()
                || !setting("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").isEmpty();
    }

    /** A variable, or the system property that OpenTelemetry takes for the same. */
    private static String setting(String variable) {
        String property = System.getProperty(variable.toLowerCase(Locale.ROOT).replace('_', '.'));
        String found = property != null ? property : System.getenv(variable);
        return found == null ? "" : found.strip();
    }

    OpenTelemetry telemetry() {
        return telemetry;
    }

    /** Sends the spans that are not sent yet, for so long at most; the author's own SDK is the author's. */
    void close(Duration most) {
        if (exporting != null && !exporting.close(most)) {
            LOG.warn("the last spans were not all sent within {}: is the collector there?", Durations.text(most));
        }
    }
}
