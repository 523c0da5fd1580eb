package io.rendezvous.internal;

import io.opentelemetry.api.OpenTelemetry;
import java.time.Duration;
import java.util.Map;

/** Exports traces as the {@code OTEL_*} variables say; {@code rendezvous-telemetry} has one, found by ServiceLoader. */
public interface TraceExport {
    /**
     * Sets an OpenTelemetry SDK up.
     *
     * @param resource attributes of this process, where the variables do not say otherwise
     * @param asGlobal whether it becomes the global one, so that the author's code finds it
     * @return it, exporting
     * @throws RuntimeException the variables do not make sense
     */
    Exporting open(Map<String, String> resource, boolean asGlobal);

    /** An SDK that exports. */
    interface Exporting {
        /** Returns the SDK. */
        OpenTelemetry telemetry();

        /**
         * Sends what is not sent yet and ends it.
         *
         * @param most how long that may take
         * @return whether all was sent in time
         */
        boolean close(Duration most);
    }
}
