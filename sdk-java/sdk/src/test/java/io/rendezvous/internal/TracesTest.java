package io.rendezvous.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.testing.exporter.InMemorySpanExporter;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.SimpleSpanProcessor;
import io.opentelemetry.sdk.trace.samplers.Sampler;
import io.rendezvous.v1.Diagnostics;
import io.rendezvous.v1.Parcel;
import io.rendezvous.v1.ParcelItem;
import io.rendezvous.v1.ScoreRequest;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which requests have spans, where the process would sample every one. */
class TracesTest {
    private static final ParcelScorer.Identity IDENTITY = new ParcelScorer.Identity("e", "m", "1", "r");
    private static final OpenTelemetry EAGER = OpenTelemetrySdk.builder()
            .setTracerProvider(SdkTracerProvider.builder()
                    .setSampler(Sampler.alwaysOn())
                    .addSpanProcessor(SimpleSpanProcessor.create(InMemorySpanExporter.create()))
                    .build())
            .build();

    private final Traces traces = new Traces(EAGER);

    private static Diagnostics diagnostics(boolean isForced) {
        return Diagnostics.newBuilder().setForceTrace(isForced).build();
    }

    /** A span has an id of its own in the request's trace, which is answered; without one the request's own is. */
    private static void check(RequestSpan span, String traceparent, boolean isRecorded) {
        assertEquals(isRecorded, span.isRecorded());
        String own = Traces.isValid(traceparent) ? traceparent : "";
        if (isRecorded && !own.isEmpty()) {
            assertEquals(own.substring(3, 35), span.traceId());
            assertTrue(span.traceparent().startsWith("00-" + span.traceId() + "-"), span.traceparent());
            assertNotEquals(own.substring(36, 52), span.traceparent().substring(36, 52));
        } else {
            assertEquals(own, span.traceparent());
        }
    }

    /** A parcel's item has a span where its context is sampled, and else is answered its own, forced or not. */
    @ParameterizedTest
    @CsvSource({
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01, true",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03, true",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more, true",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00, false",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe, false",
        "00-x, false",
        "'', false"
    })
    void consumes(String traceparent, boolean isRecorded) {
        Delivery delivery = new Delivery(Parcel.getDefaultInstance(), 1, 1, 0, 1);
        for (boolean isForced : new boolean[] {false, true}) {
            ParcelItem item = ParcelItem.newBuilder()
                    .setTraceparent(traceparent)
                    .setDiagnostics(diagnostics(isForced))
                    .build();
            check(traces.consume(IDENTITY, delivery, item, 1), traceparent, isRecorded);
        }
    }

    /** A call has the same, but that one without a context begins a trace, and is answered none. */
    @ParameterizedTest
    @CsvSource({
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01, true",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00, false",
        "00-x, true",
        "'', true"
    })
    void serves(String traceparent, boolean isRecorded) {
        Traces.Call call = new Traces.Call("rendezvous.v1.Score/Score", "h", 1, new TraceHeaders(traceparent, ""));
        for (boolean isForced : new boolean[] {false, true}) {
            ScoreRequest request = ScoreRequest.newBuilder()
                    .setDiagnostics(diagnostics(isForced))
                    .build();
            check(traces.serve(IDENTITY, call, request, "q", 1), traceparent, isRecorded);
        }
    }
}
