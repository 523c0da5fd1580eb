"""Sends the spans of this process by OTLP where the standard `OTEL_*` variables ask for it, and never otherwise.

Asked for is it by an endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) or by
`OTEL_TRACES_EXPORTER`; not by `none`, nor with `OTEL_SDK_DISABLED=true`. OpenTelemetry is imported then only.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

from rendezvous_sdk.traces import find_tracer

__all__ = [
    "SpanExport",
    "asking_variable",
    "make_span_exporter",
    "otlp_protocol",
    "shut_down_spans",
    "start_span_export",
]

_log = logging.getLogger(__name__)

_PROTOCOLS = ("grpc", "http/protobuf")


class SpanExport:
    """A tracer provider that this SDK has set up.

    Args:
        provider: the provider.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider

    def close(self, limit_s: float) -> None:
        """Sends what waits and ends the export; blocks for *limit_s* seconds at most."""
        shut_down_spans(self._provider.shutdown, limit_s)


def shut_down_spans(shutdown: Callable[[], object], limit_s: float) -> None:
    """Calls *shutdown*, which sends the last spans, and waits for its end for *limit_s* seconds at most."""
    closing = threading.Thread(target=shutdown, name="span-export-close", daemon=True)
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
    variables = os.environ if environment is None else environment
    asking = asking_variable("TRACES", variables)
    if asking is None or find_tracer() is not None:
        return None
    try:
        exporter = make_span_exporter(variables)
        return SpanExport(_set_provider(exporter, resource))
    except ImportError as error:
        _log.warning("no traces, though %s asks for them: %s; pip install 'rendezvous-sdk[otel]'", asking, error)
    except ValueError as error:
        _log.warning("no traces, though %s asks for them: %s", asking, error)
    return None


def asking_variable(signal: str, environment: Mapping[str, str]) -> str | None:
    """Returns the variable that asks for a signal to be sent, an endpoint or the exporter's name; None: none does.

    Not by default, as OpenTelemetry's specification has it: every process without a collector would complain.

    Args:
        signal: `TRACES` or `METRICS`.
        environment: variables.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    name = f"OTEL_{signal}_EXPORTER"
    if exporter := environment.get(name, "").strip().lower():
        return None if exporter == "none" else name
    endpoints = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return next((each for each in endpoints if environment.get(each)), None)


def otlp_protocol(signal: str, environment: Mapping[str, str]) -> str:
    """Returns how a signal is to be sent: `grpc`, `http/protobuf` or `console`.

    Raises:
        ValueError: a variable asks for what there is not; the message names it.
    """
    name = f"OTEL_{signal}_EXPORTER"
    exporter = environment.get(name, "").strip().lower()
    if exporter == "console":
        return exporter
    if exporter not in ("", "otlp"):
        raise ValueError(f"{name} is {exporter!r}: use otlp, console or none")
    names = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    name = next((each for each in names if environment.get(each)), names[-1])
    protocol = environment.get(name, "").strip().lower() or "grpc"
    if protocol not in _PROTOCOLS:
        raise ValueError(f"{name} is {protocol!r}: use {' or '.join(_PROTOCOLS)}")
    return protocol


def make_span_exporter(environment: Mapping[str, str]) -> "SpanExporter":
    """Returns the exporter of spans that the variables ask for.

    Raises:
        ValueError: as `otlp_protocol`.
        ImportError: its package is missing.
    """
    protocol = otlp_protocol("TRACES", environment)
    if protocol == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - optional, and only when on

        return ConsoleSpanExporter(out=sys.stderr)
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc  # noqa: PLC0415 - the same

        return over_grpc.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http  # noqa: PLC0415 - the same

    return over_http.OTLPSpanExporter()


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
