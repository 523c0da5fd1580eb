"""The conformance vectors that concern an SDK: scores of parcels, failed calls, trace context."""

from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from rendezvous_proto import v1
from rendezvous_proto.errors import ERROR_METADATA_KEY, ErrorCode
from rendezvous_proto.vectors import load_vectors
from rendezvous_sdk.grpc_errors import from_rpc
from rendezvous_sdk.model import as_model
from rendezvous_sdk.scoring import Delivery, ParcelScorer
from rendezvous_sdk.traces import is_traceparent

STATUSES = {status.value[0]: status for status in grpc.StatusCode}


def cases(topic: str, *kinds: str) -> list[Any]:
    """Returns the cases of a topic as parameters named after them."""
    chosen = [case for case in load_vectors(topic) if not kinds or case["kind"] in kinds]
    return [pytest.param(case, id=case["name"]) for case in chosen]


def score(table: dict[str, Any]) -> dict[str, Any]:
    """The model of the vectors."""
    x = table["x"]
    if (x < 0).any():
        raise ValueError("x is negative")
    return {"y": x[:-1] if (x >= 1000).any() else x}


@pytest.fixture
def scorer() -> ParcelScorer:
    """A scorer of that model."""
    return ParcelScorer(as_model(score), endpoint="credit", name="m", version="1", replica="r")


@pytest.mark.parametrize("case", cases("scores", "scored"))
def test_parcels_are_scored(scorer: ParcelScorer, case: dict[str, Any]) -> None:
    """Items, errors, trace context and output rows are those of the vectors, one parcel alone or beside another."""
    parcel = v1.Parcel.FromString(bytes.fromhex(case["parcel"]))
    delivery = Delivery(parcel=parcel, age_us=case["age_us"])
    for scored in (*scorer.score_parcels([delivery]), *scorer.score_parcels([delivery, delivery])):
        answered = [
            {
                "request_id": item.request_id,
                "rows": item.rows,
                "error": ErrorCode(item.error.code).name if item.HasField("error") else None,
                "traceparent": item.traceparent,
            }
            for item in scored.items
        ]
        assert answered == case["items"]
        assert scored.outputs == v1.Frame.FromString(bytes.fromhex(case["outputs"]))
        assert scored.HasField("outputs") == bool(case["outputs"])


@pytest.mark.parametrize("case", cases("scores", "malformed"))
def test_malformed_parcels_are_never_scored(scorer: ParcelScorer, case: dict[str, Any]) -> None:
    """What is no parcel is not parsed; what contradicts itself is refused for each of its requests."""
    try:
        parcel = v1.Parcel.FromString(bytes.fromhex(case["parcel"]))
    except DecodeError:
        return
    scored = scorer.score_parcels([Delivery(parcel=parcel)])[0]
    assert not scored.HasField("outputs")
    assert [int(item.error.code) for item in scored.items] == [ErrorCode.INVALID_FRAME] * len(parcel.items)


@pytest.mark.parametrize("case", cases("statuses"))
def test_failed_calls_become_errors(case: dict[str, Any]) -> None:
    """The whole error in the metadata counts; else the status does; a code of the future is INTERNAL."""
    packed = bytes.fromhex(case["error_bin"])
    metadata = grpc.aio.Metadata(*([(ERROR_METADATA_KEY, packed)] if packed else []))
    failed = grpc.aio.AioRpcError(STATUSES[case["grpc_code"]], grpc.aio.Metadata(), metadata, case["details"])
    error = from_rpc(failed)
    assert (error.code.name, error.message, error.facts.retryable) == (
        case["code"],
        case["message"],
        case["retryable"],
    )


@pytest.mark.parametrize("case", cases("traces"))
def test_trace_context(case: dict[str, Any]) -> None:
    """Well-formed is what W3C calls so."""
    assert is_traceparent(case["traceparent"]) is case["well_formed"]
