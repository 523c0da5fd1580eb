"""A bridge at a real postbox, before a server of Score in the test: the protocol's rules, outages, deadly parcels."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from nats.js.errors import BucketNotFoundError, NoKeysError
from rendezvous_proto import v1
from rendezvous_proto.errors import ErrorCode
from rendezvous_proto.frames import FrameView, encode_frame, join_frames
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import REPLICAS_BUCKET, durable_stream, durable_subjects, input_subject
from rendezvous_router.bridge import Bridge, BridgeOptions, parse_address
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk.nats_connection import Connection, connect

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Model(v1.ScoreServicer):
    """Doubles `x`; serves neither health nor anything else that it need not. Misbehaves by the value of `x`."""

    rows: list[int] = field(default_factory=list)
    """Rows of each call."""
    metadata: list[dict[str, str]] = field(default_factory=list)
    provenance: list[list[str]] = field(default_factory=list)
    overloaded: int = 0
    """How many calls are still refused."""
    is_held: bool = False
    """Whether calls wait for `let_go`."""
    let_go: threading.Event = field(default_factory=threading.Event)
    running: int = 0
    most_running: int = 0

    def Describe(self, request: Any, context: Any) -> v1.ModelInfo:  # noqa: N802 - gRPC
        """Says what this is."""
        column = v1.ColumnSpec(name="x", type="DATA_TYPE_FP64")
        return v1.ModelInfo(
            name="doubler",
            version="9",
            language="cobol",
            sdk="none",
            signature=v1.Signature(inputs=[column], outputs=[v1.ColumnSpec(name="y", type="DATA_TYPE_FP64")]),
        )

    def Score(self, request: v1.ScoreRequest, context: Any) -> v1.ScoreReply:  # noqa: N802 - gRPC
        """Doubles; 666 takes the connection along, 13 is refused."""
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return self._score(request, context)
        finally:
            self.running -= 1

    def _score(self, request: v1.ScoreRequest, context: Any) -> v1.ScoreReply:
        values = FrameView(request.inputs)["x"]
        self.rows.append(request.inputs.rows)
        self.metadata.append(dict(context.invocation_metadata()))
        self.provenance.append([each.component for each in request.provenance])
        if self.is_held:
            self.let_go.wait(20)
        if self.overloaded:
            self.overloaded -= 1
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many")
        if 666 in values:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if 13 in values:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "13 brings\nbad luck")
        return v1.ScoreReply(request_id=request.request_id, outputs=encode_frame({"y": 2 * values}))


class Server:
    """Serves the model, on the same port each time."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.port = 0
        self._server: grpc.Server | None = None

    def start(self) -> None:
        """Listens."""
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        v1.add_ScoreServicer_to_server(self.model, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        """Cuts all connections."""
        self.model.let_go.set()
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server."""
    made = Server(Model())
    made.start()
    yield made
    made.stop()


class Postbox:
    """Publishes parcels to endpoint `e` and collects the scores, as a router would."""

    def __init__(self, nc: Connection) -> None:
        self.nc = nc
        self.scores: dict[str, list[v1.ParcelScore]] = {}
        self._came = asyncio.Event()

    async def open(self) -> None:
        """Makes the stream and subscribes."""
        await self.nc.jetstream().add_stream(name=durable_stream("e"), subjects=durable_subjects("e"))
        await self.nc.subscribe("rv.e.score.*.router", cb=self._take)

    async def send(self, *requests: list[float], budget_s: float = 60.0, traceparent: str = "") -> str:
        """Publishes one parcel of one request for each list; returns its id once it is stored."""
        frames = [encode_frame({"x": values}, types={"x": "FP64"}) for values in requests]
        parcel = v1.Parcel(
            parcel_id=new_id(),
            endpoint="e",
            router="router",
            items=[
                v1.ParcelItem(
                    request_id=new_id(),
                    rows=frame.rows,
                    budget_us=round(budget_s * 1e6),
                    traceparent=traceparent,
                    provenance=[v1.Provenance(component="rendezvous-router")],
                )
                for frame in frames
            ],
            inputs=join_frames(frames),
        )
        await self.nc.jetstream().publish(input_subject("e"), parcel.SerializeToString(), timeout=5)
        return parcel.parcel_id

    async def score(self, parcel_id: str) -> v1.ParcelScore:
        """Waits for the first score of a parcel."""
        async with asyncio.timeout(30):
            while parcel_id not in self.scores:
                self._came.clear()
                await self._came.wait()
        return self.scores[parcel_id][0]

    async def unacknowledged(self) -> int:
        """Returns how many parcels are delivered and not acknowledged."""
        info = await self.nc.jetstream().consumer_info(durable_stream("e"), "m__1")
        return info.num_ack_pending or 0

    async def status(self) -> dict[str, Any]:
        """Returns what the only replica says of itself; empty: there is none."""
        try:
            bucket = await self.nc.jetstream().key_value(REPLICAS_BUCKET)
            entries = [json.loads((await bucket.get(key)).value or b"{}") for key in await bucket.keys()]
        except (BucketNotFoundError, NoKeysError):
            return {}
        return entries[0]

    async def _take(self, msg: Msg) -> None:
        score = v1.ParcelScore.FromString(msg.data)
        self.scores.setdefault(score.parcel_id, []).append(score)
        self._came.set()


@pytest_asyncio.fixture
async def postbox(nats_server: NatsServer) -> AsyncIterator[Postbox]:
    """The stand-in for a router, with the endpoint's stream made."""
    nc = await connect(nats_server.url, name="router", timeout_s=5)
    made = Postbox(nc)
    await made.open()
    yield made
    await nc.close()


@asynccontextmanager
async def bridged(server: Server, nats_server: NatsServer, **options: Any) -> AsyncIterator[Bridge]:
    """A bridge for the length of a block, then drained."""
    to = parse_address(f"grpc://127.0.0.1:{server.port}")
    bridge = Bridge(BridgeOptions(endpoint="e", name="m", to=to, nats=nats_server.url, **options))
    await bridge.start()
    try:
        yield bridge
    finally:
        await bridge.stop()


async def until(condition: Callable[[], Any]) -> None:
    """Waits until *condition* holds, awaiting it if need be."""
    give_up = time.monotonic() + 30
    while True:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < give_up, "not within 30 s"
        await asyncio.sleep(0.02)


def values_of(score: v1.ParcelScore) -> list[Any]:
    """Returns the column `y`."""
    return FrameView(score.outputs).column("y")


async def test_a_parcel_is_answered_as_a_model_answers_it(
    postbox: Postbox, server: Server, nats_server: NatsServer
) -> None:
    """One score with all its fields, an acknowledgement, the trace answered and passed on, the bridge in provenance."""
    async with bridged(server, nats_server) as bridge:
        score = await postbox.score(await postbox.send([1.0, 2.0], [3.0], traceparent=TRACEPARENT))
        assert values_of(score) == [2.0, 4.0, 6.0]
        assert [item.rows for item in score.items] == [2, 1]
        assert (score.model, score.version, score.replica, score.delivery) == ("m", "1", bridge.replica, 1)
        assert score.parcel_sequence == 1
        assert {item.traceparent for item in score.items} == {TRACEPARENT}
        assert server.model.metadata[0]["traceparent"] == TRACEPARENT
        assert server.model.provenance == [["rendezvous-router", "rendezvous-bridge"]]
        await until(lambda: _is_zero(postbox.unacknowledged()))
        await until(lambda: _has(postbox.status(), state="up", grpc=f"127.0.0.1:{server.port}"))


async def test_a_bad_request_fails_alone(postbox: Postbox, server: Server, nats_server: NatsServer) -> None:
    """What the model refuses is that request's failure, in the server's words; its parcel's others are answered."""
    async with bridged(server, nats_server):
        score = await postbox.score(await postbox.send([1.0], [13.0], [2.0], [3.0]))
    assert values_of(score) == [2.0, 4.0, 6.0]
    error = score.items[1].error
    assert (error.code, error.message) == (
        ErrorCode.MODEL_FAILED,
        "the model server answered INVALID_ARGUMENT: 13 brings bad luck",
    )
    assert error.attributes == {"grpc_status": "INVALID_ARGUMENT"}


async def test_expired_requests_are_not_scored(postbox: Postbox, server: Server, nats_server: NatsServer) -> None:
    """A request whose time was over before delivery is answered EXPIRED and never reaches the model server."""
    async with bridged(server, nats_server):
        late = await postbox.score(await postbox.send([1.0], budget_s=-1.0))
    assert late.items[0].error.code == ErrorCode.EXPIRED
    assert server.model.rows == []


async def test_what_does_not_fit_is_that_requests_fault(
    postbox: Postbox, server: Server, nats_server: NatsServer
) -> None:
    """A parcel without the column that the model takes is SIGNATURE_MISMATCH; one that is no parcel is taken off."""
    async with bridged(server, nats_server):
        await postbox.nc.jetstream().publish(input_subject("e"), b"\xff\xff")
        frame = encode_frame({"z": [1.0]})
        item = v1.ParcelItem(request_id="r", rows=1, budget_us=10**8)
        parcel = v1.Parcel(parcel_id="p", endpoint="e", router="router", items=[item], inputs=frame)
        await postbox.nc.jetstream().publish(input_subject("e"), parcel.SerializeToString())
        score = await postbox.score("p")
        await until(lambda: _is_zero(postbox.unacknowledged()))
    assert score.items[0].error.code == ErrorCode.SIGNATURE_MISMATCH
    assert "column 'x' is absent" in score.items[0].error.message


async def test_parcels_wait_while_the_model_server_is_down(
    postbox: Postbox, server: Server, nats_server: NatsServer
) -> None:
    """Down: nothing is held, nothing answered, the replica says so. Up again: everything is answered."""
    async with bridged(server, nats_server):
        await postbox.score(await postbox.send([1.0]))
        server.stop()
        first = await postbox.send([2.0])  # finds the connection lost, or the bridge gone back already
        await until(lambda: _has(postbox.status(), state="down"))
        second = await postbox.send([3.0])
        assert not {first, second} & postbox.scores.keys()
        assert (await postbox.status())["reason"]
        server.start()
        assert [values_of(await postbox.score(each)) for each in (first, second)] == [[4.0], [6.0]]
        assert (await postbox.score(second)).delivery == 1  # it was never pulled meanwhile
        await until(lambda: _has(postbox.status(), state="up"))


async def test_a_deadly_parcel_takes_no_others_along(postbox: Postbox, server: Server, nats_server: NatsServer) -> None:
    """A parcel that takes the model server down each time is given up at its fifth delivery."""
    async with bridged(server, nats_server):
        others = [await postbox.send([float(number)]) for number in range(1, 4)]
        deadly = await postbox.send([666.0])
        others += [await postbox.send([float(number)]) for number in range(4, 7)]
        assert [values_of(await postbox.score(each)) for each in others] == [[2.0 * number] for number in range(1, 7)]
        assert max([(await postbox.score(each)).delivery for each in others]) <= 3
        error = (await postbox.score(deadly)).items[0].error
    assert error.code == ErrorCode.MODEL_FAILED
    assert "delivered 5 times" in error.message


async def test_calls_are_bounded_in_rows_and_number(postbox: Postbox, server: Server, nats_server: NatsServer) -> None:
    """No call has more than `max_rows` rows and no more than `concurrency` run; what waited goes together."""
    server.model.is_held = True
    async with bridged(server, nats_server, concurrency=2, max_rows=4):
        sent = [await postbox.send([float(number)]) for number in range(8)]
        large = await postbox.send([float(number) for number in range(10)])
        await until(lambda: server.model.running == 2)
        server.model.let_go.set()
        answers = [values_of(await postbox.score(each)) for each in sent]
        assert answers == [[2.0 * number] for number in range(8)]
        assert values_of(await postbox.score(large)) == [2.0 * number for number in range(10)]
    assert server.model.most_running == 2
    assert max(server.model.rows) <= 4
    assert len(server.model.rows) < len(sent) + 3


async def test_a_call_that_takes_too_long_is_a_failure(
    postbox: Postbox, server: Server, nats_server: NatsServer
) -> None:
    """After `timeout` the requests are answered MODEL_FAILED, and the next ones are scored."""
    server.model.is_held = True
    async with bridged(server, nats_server, timeout_s=0.3):
        error = (await postbox.score(await postbox.send([1.0]))).items[0].error
        assert (error.code, error.message) == (
            ErrorCode.MODEL_FAILED,
            "the model server took longer than 0.3 s (--timeout)",
        )
        server.model.is_held = False
        assert values_of(await postbox.score(await postbox.send([2.0]))) == [4.0]
        server.model.let_go.set()


async def test_an_overloaded_server_is_asked_again(postbox: Postbox, server: Server, nats_server: NatsServer) -> None:
    """RESOURCE_EXHAUSTED is no failure of the rows: the call is repeated until it is taken."""
    server.model.overloaded = 3
    async with bridged(server, nats_server):
        assert values_of(await postbox.score(await postbox.send([2.0]))) == [4.0]
    assert len(server.model.rows) == 4


async def test_draining_finishes_what_runs_and_hands_back_what_waits(
    postbox: Postbox, server: Server, nats_server: NatsServer
) -> None:
    """A bridge that stops answers the parcel at the model server; those behind it go to the next bridge at once."""
    server.model.is_held = True
    async with bridged(server, nats_server, concurrency=1, credit=4, ack_wait_s=10) as bridge:
        running = await postbox.send([1.0])
        await until(lambda: server.model.running == 1)
        waiting = [await postbox.send([float(number)]) for number in (2, 3)]
        await until(lambda: _equals(postbox.unacknowledged(), 3))
        server.model.is_held = False
        stopping = asyncio.create_task(bridge.stop())
        async with asyncio.timeout(5), bridged(server, nats_server, ack_wait_s=10) as other:
            scores = [await postbox.score(each) for each in waiting]
        assert [(values_of(score), score.replica) for score in scores] == [
            ([4.0], other.replica),
            ([6.0], other.replica),
        ]
        assert running not in postbox.scores
        server.model.let_go.set()
        await stopping
        assert (await postbox.score(running)).replica == bridge.replica


async def test_a_busy_bridge_keeps_its_parcels(postbox: Postbox, server: Server, nats_server: NatsServer) -> None:
    """A call longer than `ack_wait` is defended by in-progress signals: nothing is delivered twice."""
    server.model.is_held = True
    async with bridged(server, nats_server, ack_wait_s=0.3):
        sent = await postbox.send([1.0])
        await until(lambda: server.model.running == 1)
        await asyncio.sleep(1.0)  # what must not happen within three times ack_wait
        server.model.let_go.set()
        assert (await postbox.score(sent)).delivery == 1
    assert len(postbox.scores[sent]) == 1


async def _is_zero(count: Any) -> bool:
    return await count == 0


async def _equals(count: Any, expected: int) -> bool:
    return await count == expected


async def _has(status: Any, **expected: object) -> bool:
    found = await status
    return all(found.get(name) == value for name, value in expected.items())
