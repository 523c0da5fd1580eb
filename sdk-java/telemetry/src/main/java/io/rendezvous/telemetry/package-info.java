/** Traces of served models by OTLP: {@link io.rendezvous.telemetry.OtlpTraceExport}. */
package io.rendezvous.telemetry;
