"""`rendezvous mirror` between two installations, each with a nats-server of its own."""

import asyncio
import contextlib
import datetime as dt
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from rendezvous.spec import parse_spec
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView, encode_frame, join_frames
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import durable_stream, input_subject, score_stream
from rendezvous_router.mirror.errors import MirrorError
from rendezvous_router.mirror.job import MirrorJob, MirrorSummary, run_mirror
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.record import read_parcels, read_scores
from rendezvous_router.spec_store import SpecStore
from rendezvous_router.streams import ensure_streams
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.nats_connection import Connection, connect

from tests.support.stack import ENDPOINT, Stack, eventually

OTHER = {**ENDPOINT, "endpoint": "copy"}


class Installation:
    """One side: a connection, and what its streams have."""

    def __init__(self, nc: Connection, url: str) -> None:
        self.nc = nc
        self.url = url

    async def apply(self, spec: dict[str, Any]) -> None:
        """Stores a specification and makes its streams, as a router would."""
        store = SpecStore(self.nc)
        await store.ensure()
        await store.put(parse_spec(spec))
        await ensure_streams(self.nc, parse_spec(spec))

    async def send(self, count: int, *, requests: int = 2, endpoint: str = "sum") -> list[v1.Parcel]:
        """Puts parcels of a past life into the postbox."""
        sent = []
        for _ in range(count):
            frames = [encode_frame({"a": [float(n)], "b": [n], "tag": ["x"]}) for n in range(requests)]
            items = [
                v1.ParcelItem(
                    request_id=new_id(),
                    rows=1,
                    budget_us=1,
                    traceparent=f"00-{'1' * 32}-{'2' * 16}-01",
                    context={"customer_id": "c7"},
                    diagnostics=v1.Diagnostics(force_model="gone"),
                    provenance=[v1.Provenance(component="rendezvous-router", version="0.1.0")],
                )
                for _ in range(requests)
            ]
            parcel = v1.Parcel(
                parcel_id=new_id(), endpoint=endpoint, router="old", items=items, inputs=join_frames(frames)
            )
            await self.nc.jetstream().publish(input_subject(endpoint), parcel.SerializeToString())
            sent.append(parcel)
        return sent

    async def parcels(self, endpoint: str = "sum") -> list[v1.Parcel]:
        """What the postbox has."""
        return [parcel async for _, parcel in read_parcels(self.nc, endpoint)]


@pytest.fixture
def second_server(tmp_path: Path) -> Iterator[NatsServer]:
    """Another nats-server."""
    server = NatsServer(store=tmp_path / "second", relaxed=True)
    server.start()
    yield server
    server.stop()


@contextlib.asynccontextmanager
async def installation(server: NatsServer, spec: dict[str, Any]) -> AsyncIterator[Installation]:
    """An installation with one endpoint."""
    nc = await connect(server.url, name="test", timeout_s=5)
    made = Installation(nc, server.url)
    await made.apply(spec)
    yield made
    await nc.close()


@pytest_asyncio.fixture
async def here(nats_server: NatsServer) -> AsyncIterator[Installation]:
    """The source."""
    async with installation(nats_server, ENDPOINT) as made:
        yield made


@pytest_asyncio.fixture
async def there(second_server: NatsServer) -> AsyncIterator[Installation]:
    """The target."""
    async with installation(second_server, OTHER) as made:
        yield made


async def mirrored(here: Installation, to: str, **fields: Any) -> MirrorSummary:
    """Runs a mirror to the end of what there is."""
    told = {"endpoint": "sum", "as_endpoint": "copy", "since": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)} | fields
    job = MirrorJob(to=to, to_credentials=Credentials(), **told)
    return await run_mirror(here.nc, job, stop=asyncio.Event())


async def test_inputs_are_copied_and_scored_there(
    here: Installation, there: Installation, second_server: NatsServer, tmp_path: Path
) -> None:
    """Ids, rows and context as they were; deadlines anew, no trace, no forced model; the models there score them."""
    sent = await here.send(5)
    await here.nc.jetstream().publish(input_subject("sum"), b"no parcel")
    summary = await mirrored(here, there.url)
    assert (summary.totals.requests, summary.totals.unreadable) == (10, 1)
    copies = await there.parcels("copy")
    assert [copy.parcel_id for copy in copies] == [parcel.parcel_id for parcel in sent]
    for copy, parcel in zip(copies, sent, strict=True):
        assert copy.inputs == parcel.inputs
        for item, original in zip(copy.items, parcel.items, strict=True):
            assert (item.request_id, item.context, item.traceparent) == (original.request_id, original.context, "")
            assert (item.diagnostics.force_model, item.budget_us) == ("", 600_000_000)
            assert [each.component for each in item.provenance] == ["rendezvous-router", "rendezvous-mirror"]
    stack = Stack(tmp_path, second_server)
    try:
        stack.start_model("tests.support.models:first", "--since", "all", endpoint="copy")

        async def scored() -> bool:
            return len([score async for _, score in read_scores(there.nc, "copy")]) == 5

        await eventually(scored, "the copies are scored")
    finally:
        stack.stop()
    scores = [score async for _, score in read_scores(there.nc, "copy")]
    assert [FrameView(score.outputs)["total"].tolist() for score in scores] == [[0.0, 2.0]] * 5
    assert (await here.nc.jetstream().stream_info(score_stream("sum"))).state.messages == 0
    assert await here.parcels() == sent


async def test_a_mirror_goes_on_where_it_was(here: Installation, there: Installation) -> None:
    """A second start copies what is new only; also when the place that was kept is older than what the target has."""
    await here.send(5)
    await mirrored(here, there.url)
    bucket = await here.nc.jetstream().key_value("rv_mirrors")
    (key,) = await bucket.keys()
    old = (await bucket.get(key)).value or b""
    await here.send(4)
    assert (await mirrored(here, there.url)).totals.parcels == 4
    await bucket.put(key, old)  # as if it had been killed before it kept its place
    await there.nc.jetstream().purge_stream(durable_stream("copy"), keep=3)  # nor does JetStream's own memory help
    assert (await mirrored(here, there.url)).totals.parcels == 1
    summary = await mirrored(here, there.url, since=None)
    assert (summary.totals.parcels, summary.totals.reached) == (0, 9)


async def test_kills_copy_nothing_twice(here: Installation, there: Installation) -> None:
    """SIGKILL while it copies, several times: in the end each parcel is there once."""
    sent = await here.send(400)
    arguments = [sys.executable, "-m", "rendezvous_router.cli", "mirror", "--endpoint", "sum", "--as", "copy"]
    arguments += ["--to", there.url, "--nats", here.url, "--since", "all"]
    for _ in range(2):
        before = (await there.nc.jetstream().stream_info(durable_stream("copy"))).state.messages
        process = subprocess.Popen([*arguments, "--rate", "300/s"], stdout=subprocess.DEVNULL)  # noqa: ASYNC220 - short
        give_up = time.monotonic() + 60
        while (await there.nc.jetstream().stream_info(durable_stream("copy"))).state.messages < before + 40:
            assert time.monotonic() < give_up
            assert process.poll() is None
            await asyncio.sleep(0.01)
        process.kill()
        process.wait()
    done = await asyncio.to_thread(subprocess.run, arguments, check=True, capture_output=True)
    assert done.returncode == 0
    copies = Counter(parcel.parcel_id for parcel in await there.parcels("copy"))
    assert copies == {parcel.parcel_id: 1 for parcel in sent}


async def test_a_sample_and_a_moment_choose_what_is_copied(here: Installation, there: Installation) -> None:
    """A share of the requests, the same ones each time, from a moment on."""
    await here.send(20, requests=1)
    await asyncio.sleep(0.05)
    moment = dt.datetime.now(dt.UTC)
    later = await here.send(60, requests=2)
    summary = await mirrored(here, there.url, since=moment, share=0.3)
    copied = {item.request_id for parcel in await there.parcels("copy") for item in parcel.items}
    assert summary.totals.requests == len(copied)
    assert summary.totals.left_out == 120 - len(copied)
    assert 15 < len(copied) < 60
    assert copied < {item.request_id for parcel in later for item in parcel.items}
    for parcel in await there.parcels("copy"):
        assert parcel.inputs.rows == len(parcel.items)


async def test_a_mirror_that_follows_copies_what_comes(here: Installation, there: Installation) -> None:
    """With `follow` it begins with what comes, goes on, and ends when it is told to."""
    await here.send(3)
    stop = asyncio.Event()
    job = MirrorJob(endpoint="sum", to=there.url, to_credentials=Credentials(), as_endpoint="copy", follow=True)
    running = asyncio.create_task(run_mirror(here.nc, job, stop=stop))

    async def begun() -> bool:
        with contextlib.suppress(Exception):
            return bool(await (await here.nc.jetstream().key_value("rv_mirrors")).keys())
        return False

    await eventually(begun, "the mirror has begun")
    new = await here.send(3)

    async def copied() -> bool:
        return len(await there.parcels("copy")) == 3

    await eventually(copied, "what came is copied")
    stop.set()
    assert (await running).totals.parcels == 3
    assert [each.parcel_id for each in await there.parcels("copy")] == [each.parcel_id for each in new]


async def test_through_the_door_the_whole_endpoint_works(
    here: Installation, there: Installation, second_server: NatsServer, tmp_path: Path
) -> None:
    """By grpc:// requests come in as a client's, under their ids: there is a parcel and a decision for each."""
    sent = await here.send(4)
    stack = Stack(tmp_path, second_server)
    try:
        stack.start_model("tests.support.models:first", endpoint="copy")
        stack.start_router()
        summary = await mirrored(here, f"grpc://{stack.address}")
        assert (summary.totals.requests, summary.refused) == (8, 0)
        copied = [item.request_id for parcel in await there.parcels("copy") for item in parcel.items]
        assert sorted(copied) == sorted(item.request_id for parcel in sent for item in parcel.items)
        assert (await mirrored(here, f"grpc://{stack.address}")).totals.requests == 0
    finally:
        stack.stop()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"as_endpoint": "nowhere"}, "there is no endpoint nowhere at nats://"),
        ({"as_endpoint": "wide"}, r"column income \(FP64\) is missing; column b is INT64, expected STRING"),
        ({"endpoint": "unheard_of"}, "has no endpoint unheard_of"),
    ],
)
async def test_what_does_not_fit_is_told(
    here: Installation, there: Installation, fields: dict[str, Any], message: str
) -> None:
    """One message names the endpoint or the columns; nothing is copied."""
    inputs = [{"name": "income", "type": "FP64"}, {"name": "b", "type": "STRING"}]
    await there.apply({**ENDPOINT, "endpoint": "wide", "inputs": inputs})
    await here.send(1)
    with pytest.raises(MirrorError, match=message):
        await mirrored(here, there.url, **fields)
    assert await there.parcels("copy") == []
