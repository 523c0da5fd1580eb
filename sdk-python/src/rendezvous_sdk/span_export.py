"""Sends the spans of this process by OTLP where the standard `OTEL_*` variables ask for it, and never otherwise.

Asked for is it by an endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) or by
`OTEL_TRACES_EXPORTER`; not by `none`, nor with `OTEL_SDK_DISABLED=true`. OpenTelemetry is imported then only.
"""

import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

from rendezvous_sdk.traces import find_tracer

__all__ = ["SpanExport", "start_span_export"]

_log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class SpanExport:
    """A tracer provider that this SDK has set up.

    Args:
        provider: the provider.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider

    def close(self, limit_s: float) -> None:
        """Sends what waits and ends the export; blocks for *limit_s* seconds at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="span-export-close", daemon=True)
        closing.start()
        closing.join(limit_s)
        if closing.is_alive():
            _log.warning("the last spans did not leave within %g s: the collector does not answer", limit_s)


def start_span_export(resource: Mapping[str, str], environment: Mapping[str, str] | None = None) -> SpanExport | None:
    """Sets OpenTelemetry up as the environment says.

    A provider that the process has already stays as it is. Where packages are missing or a variable is not
    understood, one warning tells what to do, and there are no traces.

    Args:
        resource: says who this process is; the standard variables go before.
        environment: variables; None takes this process's. OpenTelemetry itself reads those of the process.

    Returns:
        What is to be closed in the end; None where nothing was set up.
    """
    asking = _asking_variable(os.environ if environment is None else environment)
    if asking is None or find_tracer() is not None:
        return None
    try:
        exporter = _make_exporter(os.environ if environment is None else environment)
        return SpanExport(_set_provider(exporter, resource))
    except ImportError as error:
        _log.warning("no traces, though %s asks for them: %s; pip install 'rendezvous-sdk[otel]'", asking, error)
    except ValueError as error:
        _log.warning("no traces, though %s asks for them: %s", asking, error)
    return None


def _asking_variable(environment: Mapping[str, str]) -> str | None:
    """Returns the variable that asks for traces; None: none does."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return None if exporter == "none" else "OTEL_TRACES_EXPORTER"
    return next((name for name in _ENDPOINTS if environment.get(name)), None)


def _make_exporter(environment: Mapping[str, str]) -> "SpanExporter":
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - optional, and only when on

        return ConsoleSpanExporter(out=sys.stderr)
    if exporter not in ("", "otlp"):
        raise ValueError(f"OTEL_TRACES_EXPORTER is {exporter!r}: use otlp, console or none")
    name = next((name for name in _PROTOCOLS if environment.get(name)), _PROTOCOLS[-1])
    protocol = environment.get(name, "").strip().lower() or "grpc"
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc  # noqa: PLC0415 - the same

        return over_grpc.OTLPSpanExporter()
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http  # noqa: PLC0415 - the same

        return over_http.OTLPSpanExporter()
    raise ValueError(f"{name} is {protocol!r}: use grpc or http/protobuf")


def _set_provider(exporter: "SpanExporter", resource: Mapping[str, str]) -> "TracerProvider":
    from opentelemetry import trace  # noqa: PLC0415 - optional, and only when on
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the same

    told = OTELResourceDetector().detect().attributes
    # Not closed when Python ends: a collector that does not answer would hold the process up.
    provider = TracerProvider(resource=Resource.create({**resource, **told}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider
