"""Trace context: answered unchanged, or as a span of the process's OpenTelemetry."""

import json
import subprocess
import sys
from typing import Any

import pytest
from rendezvous_proto.frames import encode_frame
from rendezvous_sdk import testing
from rendezvous_sdk.traces import is_traceparent

WELL_FORMED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MALFORMED = WELL_FORMED.upper()

WITH_OPENTELEMETRY = f"""
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rendezvous_sdk import testing

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
with testing.Postbox(lambda table: {{"y": 1 / table["x"].astype(int).astype(object)}}, name="m") as box:
    parcel = box.parcel({{"x": [1.0]}}, {{"x": [0.0]}}, {{"x": [1.0]}})
    for item in parcel.items[:2]:
        item.traceparent = "{WELL_FORMED}"
    answered = [item.traceparent for item in box.deliver(parcel).items]
spans = [
    (s.name, s.status.status_code.name, f"{{s.parent.span_id:016x}}", f"{{s.context.trace_id:032x}}",
     f"{{s.context.span_id:016x}}")
    for s in kept.get_finished_spans()
]
print(json.dumps([answered, spans]))
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WELL_FORMED, True),
        (WELL_FORMED.replace("00-", "cc-", 1) + "-more", True),
        (MALFORMED, False),
        (WELL_FORMED + "-more", False),
        (WELL_FORMED.replace("00-", "ff-", 1), False),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", False),
        (WELL_FORMED[:-1], False),
        (WELL_FORMED + "\n", False),
        ("", False),
    ],
)
def test_well_formed_and_malformed(text: str, expected: bool) -> None:
    """Only what the recommendation allows is a trace context."""
    assert is_traceparent(text) is expected


def test_items_are_answered_with_their_own_context() -> None:
    """Without OpenTelemetry's SDK: a well-formed context comes back, a malformed one and none give none."""

    def score(table: dict[str, Any]) -> dict[str, Any]:
        if (table["x"] < 0).any():
            raise ValueError("negative")
        return {"y": table["x"]}

    with testing.Postbox(score) as box:
        parcel = box.parcel(*(encode_frame({"x": [x]}) for x in (1.0, -1.0, 2.0, 3.0)))
        for item, text in zip(parcel.items, (WELL_FORMED, WELL_FORMED, MALFORMED, ""), strict=True):
            item.traceparent = text
        answered = [item.traceparent for item in box.deliver(parcel).items]
    assert answered == [WELL_FORMED, WELL_FORMED, "", ""]


def test_a_span_for_each_traced_request() -> None:
    """With OpenTelemetry's SDK set up, each traced request has a span, child of its context, which is answered."""
    done = subprocess.run([sys.executable, "-c", WITH_OPENTELEMETRY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answered, spans = json.loads(done.stdout)
    trace_id, parent_id = WELL_FORMED.split("-")[1:3]
    assert [span[:4] for span in spans] == [
        ["score m", "UNSET", parent_id, trace_id],
        ["score m", "ERROR", parent_id, trace_id],
    ]
    assert answered == [*(f"00-{trace_id}-{span[4]}-01" for span in spans), ""]
