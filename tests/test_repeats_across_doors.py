"""One request id, sent through every door: one scoring, one answer; with other rows it is refused at each."""

import asyncio
import http.client
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import nats
import pytest
from rendezvous_proto import inference as oip
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.v1 import ErrorCode, ScoreReply, ScoreRequest
from rendezvous_router.record import read_decisions

from tests.support.counting import NOTES, scored
from tests.support.stack import ENDPOINT, Stack, eventually

SPEC: dict[str, Any] = {
    **ENDPOINT,
    "models": {"counting": {"role": "champion"}},
    "policy": {"deadline": "5s", "steps": [{"take": "best"}], "otherwise": "error"},
}
TYPES = {"a": "FP64", "b": "INT64", "tag": "STRING"}
Told = tuple[str, tuple[str, ...]]
"""Status and, of an answer, its labels; the model never gives the same one twice."""


@pytest.fixture
async def notes(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A router, an endpoint, and the file into which its model writes each row that it scores."""
    path = tmp_path / "scored"
    monkeypatch.setenv(NOTES, str(path))
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_model("tests.support.counting:counting", name="counting")
    return path


def columns(tags: Sequence[str]) -> dict[str, list[Any]]:
    """Returns the rows of a request."""
    return {"a": [1.5] * len(tags), "b": [2] * len(tags), "tag": list(tags)}


async def by_score(stack: Stack, request_id: str, tags: Sequence[str]) -> Told:
    """Unary, over gRPC."""
    request = ScoreRequest(request_id=request_id, endpoint="sum", inputs=encode_frame(columns(tags), types=TYPES))
    async with grpc.aio.insecure_channel(stack.address) as channel:
        call = channel.unary_unary("/rendezvous.v1.Score/Score", ScoreRequest.SerializeToString, ScoreReply.FromString)
        try:
            return told_of(await call(request, timeout=10))
        except grpc.aio.AioRpcError as error:
            return error.code().name, ()


async def by_stream(stack: Stack, request_id: str, tags: Sequence[str]) -> Told:
    """In a stream, over gRPC, its columns in another order."""
    table = dict(reversed(columns(tags).items()))
    request = ScoreRequest(request_id=request_id, endpoint="sum", inputs=encode_frame(table, types=TYPES))
    async with grpc.aio.insecure_channel(stack.address) as channel:
        call = channel.stream_stream(
            "/rendezvous.v1.Score/ScoreStream", ScoreRequest.SerializeToString, ScoreReply.FromString
        )
        [reply] = [reply async for reply in call(iter([request]), timeout=10)]
        return told_of(reply)


def told_of(reply: ScoreReply) -> Told:
    """Returns what a reply tells."""
    if reply.HasField("error"):
        return ErrorCode.Name(reply.error.code).removeprefix("ERROR_CODE_"), ()
    return "OK", next(tuple(column.strings) for column in reply.outputs.columns if column.name == "label")


def infer_request(request_id: str, tags: Sequence[str], *, raw: bool) -> oip.ModelInferRequest:
    """Returns a request of the Open Inference Protocol."""
    request = oip.ModelInferRequest(model_name="sum", id=request_id)
    frame = encode_frame(columns(tags), types=TYPES)
    for column, kind in zip(frame.columns, ("FP64", "INT64", "BYTES"), strict=True):
        made = request.inputs.add(name=column.name, datatype=kind, shape=[len(tags)])
        if raw:
            octets = b"".join(len(tag.encode()).to_bytes(4, "little") + tag.encode() for tag in tags)
            request.raw_input_contents.append(octets if kind == "BYTES" else column.values)
        elif kind == "BYTES":
            made.contents.bytes_contents.extend(tag.encode() for tag in tags)
        elif kind == "FP64":
            made.contents.fp64_contents.extend([1.5] * len(tags))
        else:
            made.contents.int64_contents.extend([2] * len(tags))
    return request


def by_infer(raw: bool) -> Callable[[Stack, str, Sequence[str]], Awaitable[Told]]:
    """Returns a door: ModelInfer, with raw or typed contents."""

    async def ask(stack: Stack, request_id: str, tags: Sequence[str]) -> Told:
        async with grpc.aio.insecure_channel(stack.address) as channel:
            call = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                oip.ModelInferRequest.SerializeToString,
                oip.ModelInferResponse.FromString,
            )
            try:
                answer = await call(infer_request(request_id, tags, raw=raw), timeout=10)
            except grpc.aio.AioRpcError as error:
                return error.code().name, ()
        place = [output.name for output in answer.outputs].index("label")
        if not raw:
            return "OK", tuple(text.decode() for text in answer.outputs[place].contents.bytes_contents)
        octets, labels = answer.raw_output_contents[place], []
        while octets:
            end = 4 + int.from_bytes(octets[:4], "little")
            labels.append(octets[4:end].decode())
            octets = octets[end:]
        return "OK", tuple(labels)

    return ask


def over_http(
    path: str, write: Callable[[str, Sequence[str]], tuple[dict[str, str], bytes]], read: Callable[[Any], Sequence[str]]
) -> Callable[[Stack, str, Sequence[str]], Awaitable[Told]]:
    """Returns a door: a path, how to ask there, and where the labels are in the answer."""

    def ask(stack: Stack, request_id: str, tags: Sequence[str]) -> Told:
        connection = http.client.HTTPConnection(urlsplit(stack.rest).netloc, timeout=10)
        try:
            headers, body = write(request_id, tags)
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
            return str(response.status), tuple(read(answer)) if response.status == 200 else ()
        finally:
            connection.close()

    return lambda stack, request_id, tags: asyncio.to_thread(ask, stack, request_id, tags)


def json_rows(request_id: str, tags: Sequence[str]) -> tuple[dict[str, str], bytes]:
    """Rows as JSON, the id in a header."""
    rows = [{"a": 1.5, "b": 2, "tag": tag} for tag in tags]
    return {"content-type": "application/json", "x-request-id": request_id}, json.dumps({"rows": rows}).encode()


def json_columns(request_id: str, tags: Sequence[str]) -> tuple[dict[str, str], bytes]:
    """Columns as JSON, the id in the body."""
    document = {"request_id": request_id, "columns": columns(tags)}
    return {"content-type": "application/json"}, json.dumps(document).encode()


def csv(request_id: str, tags: Sequence[str]) -> tuple[dict[str, str], bytes]:
    """Rows as CSV."""
    lines = ["tag,a,b", *(f"{tag},1.50,2" for tag in tags)]
    headers = {"content-type": "text/csv", "accept": "application/json", "x-request-id": request_id}
    return headers, "\n".join(lines).encode()


def tensors(request_id: str, tags: Sequence[str]) -> tuple[dict[str, str], bytes]:
    """Tensors as JSON."""
    kinds = {"a": "FP64", "b": "INT64", "tag": "BYTES"}
    inputs = [
        {"name": name, "datatype": kinds[name], "shape": [len(tags)], "data": values}
        for name, values in columns(tags).items()
    ]
    return {"content-type": "application/json"}, json.dumps({"id": request_id, "inputs": inputs}).encode()


def labels_of(answer: Any) -> list[str]:
    """Returns the labels of a JSON answer."""
    return answer["columns"]["label"] if "columns" in answer else [row["label"] for row in answer["rows"]]


PATH = "/v1/endpoints/sum/score"
DOORS: dict[str, Callable[[Stack, str, Sequence[str]], Awaitable[Told]]] = {
    "Score": by_score,
    "ScoreStream": by_stream,
    "ModelInfer, typed": by_infer(raw=False),
    "ModelInfer, raw": by_infer(raw=True),
    "REST, rows": over_http(PATH, json_rows, labels_of),
    "REST, columns": over_http(PATH, json_columns, labels_of),
    "REST, CSV": over_http(PATH, csv, labels_of),
    "Open Inference, REST": over_http(
        "/v2/models/sum/infer",
        tensors,
        lambda answer: next(output["data"] for output in answer["outputs"] if output["name"] == "label"),
    ),
}
CONFLICT = {"ScoreStream": "REQUEST_ID_CONFLICT"}
"""What a door says of an id that was used before; the others by their protocol."""


def conflict_of(door: str) -> str:
    """Returns the status that a door has for it."""
    return CONFLICT.get(door, "409" if "REST" in door else "ALREADY_EXISTS")


async def decisions_of(stack: Stack, endpoint: str = "sum") -> Counter[str]:
    """Returns how many decisions are kept of each request."""
    client = await nats.connect(stack.server.url)
    try:
        return Counter([kept.decision.request_id async for kept in read_decisions(client, endpoint)])
    finally:
        await client.close()


@pytest.mark.parametrize("first", DOORS)
async def test_a_retry_through_another_door_gets_the_answer_that_was_given(
    stack: Stack, notes: Path, first: str
) -> None:
    """Asked first at each door in turn, then at all: the one answer, rows scored once, one decision in the record."""
    tags = ("one", "zwölf")
    status, labels = await DOORS[first](stack, "same-id", tags)
    assert status in ("OK", "200")
    assert len(labels) == 2
    for door, ask in DOORS.items():
        assert (await ask(stack, "same-id", tags))[1] == labels, door
    assert scored(notes) == {"one": 1, "zwölf": 1}
    for door, ask in DOORS.items():
        for other in (("one", "zwolf"), ("one",), ("zwölf", "one")):
            assert await ask(stack, "same-id", other) == (conflict_of(door), ()), door
    assert scored(notes) == {"one": 1, "zwölf": 1}

    async def is_decided_once() -> bool:
        return await decisions_of(stack) == {"same-id": 1}

    await eventually(is_decided_once, "one decision is kept")


async def test_all_doors_at_once_share_one_scoring(stack: Stack, notes: Path) -> None:
    """Eight requests of one id under way at the same moment are one."""
    told = await asyncio.gather(*(ask(stack, "at-once", ("all",)) for ask in DOORS.values()))
    assert {status for status, _ in told} == {"OK", "200"}
    assert len({labels for _, labels in told}) == 1
    assert scored(notes) == {"all": 1}


async def test_another_id_is_another_request(stack: Stack, notes: Path) -> None:
    """So that the tests above could fail: the same rows under an id of each door's own are scored each time."""
    told = [await ask(stack, f"id-{number}", ("each",)) for number, ask in enumerate(DOORS.values())]
    assert len({labels for _, labels in told}) == len(DOORS)
    assert scored(notes) == {"each": len(DOORS)}
