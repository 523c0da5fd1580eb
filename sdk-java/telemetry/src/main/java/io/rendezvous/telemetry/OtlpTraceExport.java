package io.rendezvous.telemetry;

import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.AttributesBuilder;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdkBuilder;
import io.opentelemetry.sdk.resources.Resource;
import io.rendezvous.internal.TraceExport;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Exports a served model's traces, configured by the standard {@code OTEL_*} variables alone: OTLP over gRPC, or over
 * HTTP where {@code OTEL_EXPORTER_OTLP_PROTOCOL} is {@code http/protobuf}.
 *
 * <p>{@link io.rendezvous.ModelServer} finds it by itself when it is on the class path. Logs and metrics are exported
 * only where {@code OTEL_LOGS_EXPORTER} or {@code OTEL_METRICS_EXPORTER} asks for it: the router measures the models.
 */
public final class OtlpTraceExport implements TraceExport {
    private static final AttributeKey<String> SERVICE_NAME = AttributeKey.stringKey("service.name");
    private static final String NAMELESS = "unknown_service";

    /** Made by ServiceLoader. */
    public OtlpTraceExport() {}

    @Override
    public Exporting open(Map<String, String> resource, boolean asGlobal) {
        AutoConfiguredOpenTelemetrySdkBuilder builder = AutoConfiguredOpenTelemetrySdk.builder()
                .addPropertiesSupplier(() -> Map.of("otel.metrics.exporter", "none", "otel.logs.exporter", "none"))
                .addResourceCustomizer((found, settings) -> completed(found, resource))
                .addSamplerCustomizer((sampler, settings) -> new ForcedSampler(sampler))
                .disableShutdownHook(); // the drain ends it, and waits no longer than it may
        if (asGlobal) {
            builder.setResultAsGlobal();
        }
        return new Running(builder.build().getOpenTelemetrySdk());
    }

    /** What the variables say of this process wins. */
    private static Resource completed(Resource found, Map<String, String> defaults) {
        AttributesBuilder attributes = Attributes.builder();
        defaults.forEach(attributes::put);
        String name = found.getAttribute(SERVICE_NAME);
        Resource said = name == null || name.startsWith(NAMELESS)
                ? found.toBuilder().removeIf(SERVICE_NAME::equals).build()
                : found;
        return Resource.create(attributes.build()).merge(said);
    }

    private record Running(OpenTelemetrySdk sdk) implements Exporting {
        @Override
        public OpenTelemetry telemetry() {
            return sdk;
        }

        @Override
        public boolean close(Duration most) {
            return sdk.shutdown().join(most.toMillis(), TimeUnit.MILLISECONDS).isSuccess();
        }
    }
}
