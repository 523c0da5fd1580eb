package io.rendezvous.telemetry;

import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.context.Context;
import io.opentelemetry.sdk.trace.data.LinkData;
import io.opentelemetry.sdk.trace.samplers.Sampler;
import io.opentelemetry.sdk.trace.samplers.SamplingResult;
import io.rendezvous.internal.Traces;
import java.util.List;

/** Samples every request that asked for a trace, and else as the configured sampler does. */
final class ForcedSampler implements Sampler {
    private final Sampler otherwise;

    ForcedSampler(Sampler otherwise) {
        this.otherwise = otherwise;
    }

    @Override
    public SamplingResult shouldSample(
            Context parent, String traceId, String name, SpanKind kind, Attributes attributes, List<LinkData> links) {
        if (Boolean.TRUE.equals(parent.get(Traces.FORCED))) {
            return SamplingResult.recordAndSample();
        }
        return otherwise.shouldSample(parent, traceId, name, kind, attributes, links);
    }

    @Override
    public String getDescription() {
        return "ForcedSampler{" + otherwise.getDescription() + "}";
    }
}
