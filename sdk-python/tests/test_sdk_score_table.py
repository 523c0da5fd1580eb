"""Large tables: streamed in pieces, in order, what fails in passing sent again."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import (
    ErrorCode,
    InvalidRequestError,
    ModelFailedError,
    OverloadedError,
    RendezvousError,
    UnauthenticatedError,
    UnavailableError,
)
from rendezvous_proto.frames import FrameView, encode_frame
from rendezvous_sdk import AsyncClient, Client, ClientOptions
from rendezvous_sdk.chunks import RowsFailedError
from rendezvous_sdk.grpc_errors import status_of, trailing_metadata

_ROWS = 2_345
_KEY = "rv_abcdefghij23_" + "k" * 52
Fault = Callable[[float, int], RendezvousError | None]


class Doubling:
    """An endpoint that doubles x; faults are told by (first x, how often the request was sent)."""

    def __init__(self) -> None:
        self.fault: Fault = lambda _first, _times: None
        self.breaks_after = -1
        self.sent: Counter[str] = Counter()
        self.unary = 0
        self.retried_after_s = 0.0
        self.authorization: set[str | bytes] = set()
        self._refused_at = 0.0

    def Describe(self, _request: v1.DescribeRequest, context: grpc.ServicerContext) -> v1.ModelInfo:  # noqa: N802, D102 # named by gRPC
        self._note(context)
        return v1.ModelInfo(signature=v1.Signature(outputs=[v1.ColumnSpec(name="y", type=v1.DataType.DATA_TYPE_FP64)]))

    def Score(self, request: v1.ScoreRequest, context: grpc.ServicerContext) -> v1.ScoreReply:  # noqa: N802, D102 # named by gRPC
        self._note(context)
        self.unary += 1
        if self._refused_at:
            self.retried_after_s = time.monotonic() - self._refused_at
        reply = self._reply(request)
        if reply.HasField("error"):
            error = RendezvousError.from_proto(reply.error)
            self._refused_at = time.monotonic()
            context.set_trailing_metadata(trailing_metadata(error))
            context.abort(status_of(error), error.message)
        return reply

    def ScoreStream(  # noqa: N802, D102 # named by gRPC
        self, requests: Iterator[v1.ScoreRequest], context: grpc.ServicerContext
    ) -> Iterator[v1.ScoreReply]:
        self._note(context)
        for number, request in enumerate(requests):
            if number == self.breaks_after:
                self.breaks_after = -1
                context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
            yield self._reply(request)

    def _reply(self, request: v1.ScoreRequest) -> v1.ScoreReply:
        self.sent[request.request_id] += 1
        x = FrameView(request.inputs)["x"]
        fault = self.fault(float(x[0]), self.sent[request.request_id])
        if fault is not None:
            return v1.ScoreReply(request_id=request.request_id, error=fault.to_proto())
        return v1.ScoreReply(request_id=request.request_id, outputs=encode_frame({"y": x * 2.0}))

    def _note(self, context: grpc.ServicerContext) -> None:
        self.authorization.add(dict(context.invocation_metadata()).get("authorization", ""))


@pytest.fixture(name="endpoint")
def fixture_endpoint() -> Iterator[tuple[Doubling, str]]:
    """The endpoint and its address."""
    serving = Doubling()
    server = grpc.server(ThreadPoolExecutor(8))
    v1.add_ScoreServicer_to_server(serving, server)  # type: ignore[no-untyped-call] # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield serving, f"127.0.0.1:{port}"
    server.stop(0).wait()


def table() -> pd.DataFrame:
    """Numbered rows with an index of names."""
    return pd.DataFrame({"x": np.arange(_ROWS, dtype=float)}, index=[f"r{i}" for i in range(_ROWS)])


def scored(address: str, rows: Any, **arguments: Any) -> Any:
    """Scores by the synchronous client."""
    with Client(address, key=_KEY, options=ClientOptions(timeout_s=5)) as client:
        return client.score_table(rows, **arguments)


@pytest.mark.parametrize("chunk_rows", [1, 100, 1000, 5000])
def test_a_data_frame_comes_back_in_order(endpoint: tuple[Doubling, str], chunk_rows: int) -> None:
    """A row for each row, with the same index, in one request for each piece; the key goes with every call."""
    serving, address = endpoint
    answer = scored(address, table(), chunk_rows=chunk_rows)
    pd.testing.assert_frame_equal(answer, pd.DataFrame({"y": table()["x"] * 2}))
    assert len(serving.sent) == -(-_ROWS // chunk_rows)
    assert serving.authorization == {f"Bearer {_KEY}"}


async def test_an_arrow_table_comes_back_as_one(endpoint: tuple[Doubling, str]) -> None:
    """Arrow in, Arrow out, by the asynchronous client; a table without rows has the declared columns."""
    async with AsyncClient(endpoint[1]) as client:
        answer = await client.score_table(pa.table({"x": np.arange(_ROWS, dtype=float)}))
        empty = await client.score_table(pa.table({"x": pa.array([], pa.float64())}))
    assert answer["y"].to_pylist() == [2.0 * i for i in range(_ROWS)]
    assert (empty.num_rows, empty.column_names) == (0, ["y"])


def test_what_fails_in_passing_is_sent_again(endpoint: tuple[Doubling, str]) -> None:
    """A broken stream is taken up where it broke; OVERLOADED is asked again by itself, not before the time it names."""
    serving, address = endpoint
    serving.breaks_after = 7
    serving.fault = lambda first, times: (
        OverloadedError("busy", {"retry_after_ms": 300}) if first == 1_100 and times < 3 else None
    )
    pd.testing.assert_frame_equal(scored(address, table(), chunk_rows=100), pd.DataFrame({"y": table()["x"] * 2}))
    assert serving.unary == 2
    assert serving.retried_after_s >= 0.3
    assert len(serving.sent) == 24  # the same ids


def test_a_stream_that_breaks_says_so(endpoint: tuple[Doubling, str]) -> None:
    """Whether gRPC drops the requests before the error reaches the caller or after, the caller gets the error."""
    serving, address = endpoint
    with Client(address, key=_KEY) as client:
        for _ in range(200):
            serving.breaks_after = 1
            with pytest.raises(UnavailableError, match="going down"):
                list(client.stream({"x": [float(number)]} for number in range(50)))


def test_rows_that_fail_are_named(endpoint: tuple[Doubling, str]) -> None:
    """The error has the range and the reason of each failed piece, and the answers of all others."""
    serving, address = endpoint
    serving.fault = lambda first, _times: ModelFailedError("odd row") if first in (300, 2_300) else None
    with pytest.raises(
        RowsFailedError, match=r"145 rows have no answer: rows 300 to 399, 2300 to 2344; .*odd row"
    ) as caught:
        scored(address, table(), chunk_rows=100)
    error = caught.value
    assert error.code is ErrorCode.MODEL_FAILED
    assert [(each.first_row, each.rows) for each in error.failures] == [(300, 100), (2_300, 45)]
    expected = pd.DataFrame({"y": table()["x"] * 2}).drop(
        index=[f"r{i}" for i in [*range(300, 400), *range(2_300, _ROWS)]]
    )
    pd.testing.assert_frame_equal(error.answered, expected)
    assert set(serving.sent.values()) == {1}


def test_a_key_that_is_refused_is_not_tried_again(endpoint: tuple[Doubling, str]) -> None:
    """UNAUTHENTICATED ends it with the first request."""
    serving, address = endpoint
    serving.fault = lambda _first, _times: UnauthenticatedError("no")
    with Client(address) as client, pytest.raises(UnauthenticatedError):
        client.score({"x": [1.0]})
    assert sum(serving.sent.values()) == 1


@pytest.mark.parametrize(
    ("rows", "arguments", "words"),
    [({"x": [1.0]}, {}, "no DataFrame"), (pd.DataFrame({"x": [1.0]}), {"chunk_rows": 0}, "at least 1")],
)
def test_wrong_use(endpoint: tuple[Doubling, str], rows: Any, arguments: dict[str, int], words: str) -> None:
    """Something else than a table, or no rows at a time, is refused before anything is sent."""
    with pytest.raises(InvalidRequestError, match=words):
        scored(endpoint[1], rows, **arguments)
    assert not endpoint[0].sent
