"""Models that the process tests serve."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rendezvous_sdk import model


def halve(table: dict[str, Any]) -> dict[str, Any]:
    """Gives half of x and the process that computed it; refuses negative x."""
    if (table["x"] < 0).any():
        raise ValueError("x is negative")
    return {"half": table["x"] / 2, "pid": np.full(len(table["x"]), os.getpid())}


def sleep(table: dict[str, Any]) -> dict[str, Any]:
    """Works for as many seconds as the first x says."""
    time.sleep(float(table["x"][0]))
    return {"pid": np.full(len(table["x"]), os.getpid())}


def stall_once(table: dict[str, Any]) -> dict[str, Any]:
    """Writes its process id to the file `marker` and hangs; once the file is there, answers at once."""
    marker = Path(table["marker"][0])
    if not marker.exists():
        marker.write_text(str(os.getpid()))
        time.sleep(600)
    return {"pid": np.full(1, os.getpid())}


def die(table: dict[str, Any]) -> dict[str, Any]:
    """Ends the process, without a word, on negative x."""
    if (table["x"] < 0).any():
        os._exit(9)
    return {"half": table["x"] / 2}


@model(inputs={"x": "FP64"}, outputs={"half": "FP64"}, task="regression")
class Declared:
    """Half of x, declared."""

    def score(self, table: dict[str, Any]) -> dict[str, Any]:
        """Gives half of x."""
        return {"half": table["x"] / 2}


def rule(applicants: dict[str, Any]) -> dict[str, Any]:
    """The README's rule."""
    return {"default_probability": 0.2 + 0.5 * (applicants["duration_months"] > 24)}


def halve_traced(table: dict[str, Any]) -> dict[str, Any]:
    """`halve`, with a span of its own, by OpenTelemetry's API alone."""
    from opentelemetry import trace  # noqa: PLC0415 - other models are served without

    with trace.get_tracer("author").start_as_current_span("look up"):
        return halve(table)


def imported(table: dict[str, Any]) -> dict[str, Any]:
    """Tells whether OpenTelemetry was imported."""
    return {"imported": np.full(len(table["x"]), any(name.startswith("opentelemetry") for name in sys.modules))}


class OwnProvider:
    """Sets OpenTelemetry up by itself."""

    def setup(self) -> None:
        """Sends spans to `OWN_ENDPOINT`, each at once."""
        from opentelemetry import trace  # noqa: PLC0415 - other models are served without
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - the same
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the same
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the same
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415 - the same

        provider = TracerProvider(resource=Resource({"service.name": "the-author-s"}))
        exporter = OTLPSpanExporter(os.environ["OWN_ENDPOINT"], insecure=True)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)

    def score(self, table: dict[str, Any]) -> dict[str, Any]:
        """Gives half of x."""
        return {"half": table["x"] / 2}
