"""Targets that take serialized messages: frames, requests, scores of lying models, tensors."""

from contextlib import suppress
from typing import Any

from google.protobuf.message import DecodeError
from rendezvous.mailbox import Mailbox, Score
from rendezvous_proto import v1
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.frames import join_frames, slice_frame, split_frame
from rendezvous_proto.inference import ModelInferRequest
from rendezvous_router.endpoint import Endpoint
from rendezvous_router.oip.inputs import frame_of
from rendezvous_router.oip.outputs import check_wanted, pick_outputs
from rendezvous_router.oip.parameters import legal_id, read_wishes
from rendezvous_router.oip.service import _parsed, _tensors_of, _value_of
from rendezvous_router.oip.tensors import is_typed, json_of_column, raw_of_column, typed_of_column
from rendezvous_router.parcels import OpenParcel
from rendezvous_router.scores import take_score
from rendezvous_router.tally import ModelTally
from rendezvous_sdk.requests import parse_describe_request, parse_score_request, request_id_of

from tests.fuzz.material import PARCEL, endpoints, view_all
from tests.fuzz.oracle import refuse

DEADLINE_S = 0.1


def fuzz_frame(data: bytes) -> None:
    """A frame is refused, or can be read in every way, cut and joined again to the same frame."""
    try:
        frame = v1.Frame.FromString(data)
    except DecodeError:
        return
    view_all(frame)  # refuses what contradicts itself
    if frame.rows > 1:
        first, rest = slice_frame(frame, 0, 1), slice_frame(frame, 1, frame.rows)
        joined = join_frames([first, rest])
        assert split_frame(joined, [1, frame.rows - 1]) == [first, rest], "cut and joined, another frame"


def fuzz_score_request(data: bytes) -> None:
    """Bytes are a request or refused by name; its frame fits the endpoint's signature or is refused."""
    with suppress(RendezvousError):
        parse_describe_request(data)
    request_id_of(data)
    request = parse_score_request(data)
    for endpoint in endpoints().values():
        try:
            accepted = endpoint.inputs.accept(request.inputs)
        except RendezvousError as error:
            refuse(error)
            continue
        assert [column.name for column in accepted.frame.columns] == [spec.name for spec in endpoint.spec.inputs]
        view_all(accepted.frame)
        if accepted.row is not None:
            view_all(endpoint.inputs.join_rows([accepted.row] * 3))


def fuzz_parcel_score(data: bytes) -> None:
    """Whatever a model answers, each request of the parcel gets a score or a failure of it, and an answer in time."""
    try:
        message = v1.ParcelScore.FromString(data)
    except DecodeError:
        return
    ModelTally().time(message.timing, 0.01)
    for endpoint in endpoints().values():
        _take(message, endpoint)


def fuzz_infer_request(data: bytes) -> None:
    """Tensors over gRPC become the signature's columns or are refused."""
    asked = _parsed(data, ModelInferRequest)
    read_wishes({name: _value_of(value) for name, value in asked.parameters.items()})
    legal_id(asked.id)
    tensors = _tensors_of(asked)
    for endpoint in endpoints().values():
        try:
            check_wanted([output.name for output in asked.outputs], endpoint.spec.outputs, "endpoint e")
            frame = frame_of(tensors, endpoint.spec.inputs, "endpoint e")
            accepted = endpoint.inputs.accept(frame).frame
        except RendezvousError as error:
            refuse(error)
            continue
        write_tensors(accepted)


def write_tensors(frame: v1.Frame) -> None:
    """Writes a sound frame as tensors in every form."""
    for column in pick_outputs(frame, []):
        raw_of_column(column)
        if is_typed(column):
            typed_of_column(column)
        if column.type != v1.DataType.DATA_TYPE_BYTES:  # which JSON cannot hold
            json_of_column(column, is_nan_null=True)


def _take(message: v1.ParcelScore, endpoint: Endpoint) -> None:
    requests: list[Any] = [object() for _ in PARCEL]
    parcel = OpenParcel(
        parcel_id="p",
        endpoint=endpoint,
        requests=requests,
        request_ids=[request_id for request_id, _ in PARCEL],
        request_rows=[rows for _, rows in PARCEL],
        rows=sum(rows for _, rows in PARCEL),
        sealed_at=0.0,
        closes_at=DEADLINE_S,
        undecided=len(PARCEL),
    )
    scores = take_score(message, parcel, 0.01).scores
    assert len(scores) == len(PARCEL)
    names = [column.name for column in endpoint.spec.outputs]
    for score, (request_id, rows) in zip(scores, PARCEL, strict=True):
        if score.columns is not None:
            assert score.columns.rows == rows
            assert [len(score.columns.column(name)) for name in names] == [rows] * len(names)
            view_all(score.columns.cut())  # type: ignore[attr-defined] # of the router's own class
        _decide(score, endpoint, request_id, rows)


def _decide(score: Score, endpoint: Endpoint, request_id: str, rows: int) -> None:
    mailbox = Mailbox(endpoint.policy, request_id=request_id, opened_at=0.0, deadline=DEADLINE_S, rows=rows, context={})
    for number, model in enumerate(endpoint.roles):
        mailbox.deliver(Score(model, score.version, score.columns, score.error, score.request_id), 0.01 * number)
    while mailbox.decision is None:
        assert mailbox.next_wake <= DEADLINE_S
        mailbox.wake(mailbox.next_wake)
