"""The archive against a real nats-server: everything in it, exactly, once, whatever happens on the way."""

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig
from rendezvous_proto import v1
from rendezvous_proto.postbox import (
    DECOY_CONSUMER,
    durable_stream,
    feedback_subject,
    input_subject,
    score_stream,
    score_subject,
)
from rendezvous_router.archive import store as store_module
from rendezvous_router.archive.reading import FlushLimits
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.streams import ensure_streams
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot
from rendezvous_sdk.archive.manifest import list_tenants
from rendezvous_sdk.archive.schema import signature_of
from rendezvous_sdk.nats_connection import Connection, connect

from tests.support.archiving import (
    QUICK,
    apply,
    archiving,
    credit_spec,
    entries_of,
    make_parcel,
    make_score,
    rows_of,
    send_parcel,
    settled,
    tables_of,
    until,
    verify,
)


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to a server that has the endpoint's specification and streams."""
    connection = await connect(nats_server.url, name="test", timeout_s=5)
    try:
        await apply(connection, credit_spec())
        yield connection
    finally:
        await connection.close()


async def send(client: Connection, count: int) -> list[v1.Parcel]:
    """Publishes parcels of one request each, with their scores and decisions."""
    parcels = [make_parcel((1,)) for _ in range(count)]
    for parcel in parcels:
        await send_parcel(client, parcel)
    return parcels


def requests_of(parcels: list[v1.Parcel]) -> list[str]:
    """Returns the requests of parcels, in order."""
    return sorted(item.request_id for parcel in parcels for item in parcel.items)


def archived(folder: Path, kind: str = "inputs") -> list[str]:
    """Returns the request of each archived row of the kind, in order."""
    return sorted(row["request_id"] for row in rows_of(folder, kind))


async def test_everything_is_archived_once(client: Connection, tmp_path: Path) -> None:
    """Each parcel, score and decision of a running endpoint is in the archive, once, and the archive is complete."""
    parcels = [make_parcel() for _ in range(25)]
    async with archiving(client, tmp_path):
        sequences = [await send_parcel(client, parcel) for parcel in parcels]
        report = await settled(client, tmp_path)
    assert report.is_complete
    assert (report.requests, report.decided, report.undecided, report.repeated_requests) == (50, 50, 0, ())
    assert dict(report.rows) == {"decisions": 50, "inputs": 75, "scores": 150}
    inputs = rows_of(tmp_path, "inputs")
    assert sorted({row["stream_sequence"] for row in inputs}) == sequences
    wanted = [(item.request_id, row) for parcel in parcels for item in parcel.items for row in range(item.rows)]
    assert sorted((row["request_id"], row["row"]) for row in inputs) == sorted(wanted)
    scores = rows_of(tmp_path, "scores")
    for model in ("boosted", "logit"):
        assert sorted((row["request_id"], row["row"]) for row in scores if row["model"] == model) == sorted(wanted)
    assert {row["late"] for row in scores} == {False}
    assert all(0 <= row["after_us"] < 10_000_000 for row in scores)


async def test_a_later_archiver_reads_on(client: Connection, tmp_path: Path) -> None:
    """What came while nobody archived is archived by the next one; scores find parcels that only the stream has."""
    sent = await send(client, 7)
    async with archiving(client, tmp_path):
        await settled(client, tmp_path)
        sent += await send(client, 5)
        await settled(client, tmp_path)
    sent += await send(client, 3)
    sequence = await send_parcel(client, (parcel := make_parcel((2,))), models=())
    async with archiving(client, tmp_path):
        await settled(client, tmp_path)
    # Its score comes when no archiver remembers the parcel.
    score = make_score(parcel, sequence, failed=[0])
    await client.jetstream().publish(score_subject("credit", "boosted", "r1"), score.SerializeToString())
    async with archiving(client, tmp_path):
        report = await settled(client, tmp_path)
    assert report.is_complete
    assert archived(tmp_path) == sorted([*requests_of(sent), *[parcel.items[0].request_id] * 2])
    failed = [row for row in rows_of(tmp_path, "scores") if row["error_code"]]
    assert [(row["row"], row["after_us"] is None) for row in failed] == [(0, False), (1, False)]


@pytest.mark.parametrize("source", [DURABLE, SCORES])
async def test_a_crash_between_entry_and_acknowledgement_doubles_nothing(
    client: Connection, tmp_path: Path, source: str
) -> None:
    """The consumer is as it was before anything was acknowledged; the next archiver begins behind the manifest."""
    sent = await send(client, 5)
    async with archiving(client, tmp_path):
        await settled(client, tmp_path)
    stream = durable_stream("credit") if source == DURABLE else score_stream("credit")
    await client.jetstream().delete_consumer(stream, DECOY_CONSUMER)
    sent += await send(client, 2)
    await client.jetstream().add_consumer(stream, ConsumerConfig(durable_name=DECOY_CONSUMER))
    async with archiving(client, tmp_path):
        report = await settled(client, tmp_path)
    assert report.is_complete
    assert archived(tmp_path) == requests_of(sent)
    assert archived(tmp_path, "scores") == sorted(2 * requests_of(sent))


async def test_messages_that_another_reader_took_are_read_again(client: Connection, tmp_path: Path) -> None:
    """A gap in the consumer's numbers makes the archive read again; nothing is missing, nothing twice."""
    js = client.jetstream()
    async with archiving(client, tmp_path, FlushLimits(messages=5, seconds=0.05, credit=8)):
        sent = await send(client, 3)
        await settled(client, tmp_path)
        thief = await js.pull_subscribe_bind(consumer=DECOY_CONSUMER, stream=durable_stream("credit"))
        stealing = asyncio.create_task(thief.fetch(4, timeout=5))
        sent += await send(client, 20)
        assert await stealing
        report = await settled(client, tmp_path)
    assert report.is_complete
    assert archived(tmp_path) == requests_of(sent)
    assert Counter(archived(tmp_path, "decisions")) == Counter(requests_of(sent))


async def test_what_the_stream_no_longer_has_is_said(client: Connection, tmp_path: Path) -> None:
    """Deleted messages are noted as ranges; the archive is complete without them."""
    sent = await send(client, 6)
    js = client.jetstream()
    await js.purge_stream(durable_stream("credit"), seq=3)
    await js.delete_msg(durable_stream("credit"), 7)
    async with archiving(client, tmp_path):
        report = await settled(client, tmp_path)
    deleted = [pair for entry in entries_of(tmp_path) if entry.source == DURABLE for pair in entry.deleted]
    assert deleted == [(1, 2), (7, 7)]
    assert report.is_complete
    assert archived(tmp_path) == sorted(requests_of(sent[1:3] + sent[4:]))


async def test_an_endpoint_that_is_made_again(client: Connection, tmp_path: Path) -> None:
    """Another stream of the same name is another generation; both are kept whole, also while the archiver runs."""
    js = client.jetstream()
    async with archiving(client, tmp_path):
        sent = await send(client, 5)
        await settled(client, tmp_path)
        for stream in (durable_stream("credit"), score_stream("credit")):
            await js.delete_stream(stream)
        await ensure_streams(client, credit_spec())
        sent += await send(client, 4)
        report = await settled(client, tmp_path)
    assert report.is_complete
    assert [len(source.generations) for source in report.sources] == [2, 2]
    assert archived(tmp_path) == requests_of(sent)
    assert archived(tmp_path, "scores") == sorted(2 * requests_of(sent))


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_stream_that_lost_its_end(tmp_path: Path, is_running: bool) -> None:
    """After a power cut other messages have the last sequences: nothing is archived twice, nothing thrown away."""
    server = NatsServer(store=tmp_path / "nats")
    server.start()
    client = await connect(server.url, name="test", timeout_s=5)
    archive = tmp_path / "archive"
    try:
        await apply(client, credit_spec())
        async with archiving(client, archive):
            kept = await send(client, 6)
            await settled(client, archive)
        server.kill()
        shutil.copytree(tmp_path / "nats", tmp_path / "before")
        server.start()
        async with archiving(client, archive):
            await answers(client)
            lost = await send(client, 5)
            await settled(client, archive)
            if is_running:
                await cut(server, tmp_path)
                await answers(client)
                late = await send(client, 3)
                report = await settled(client, archive)
        if not is_running:
            await cut(server, tmp_path)
            await answers(client)
            late = await send(client, 3)
            async with archiving(client, archive):
                report = await settled(client, archive)
    finally:
        await client.close()
        server.stop()
    assert report.is_complete
    durable = next(source for source in report.sources if source.source == DURABLE)
    assert [(each.first, each.last) for each in durable.generations] == [(1, 22), (13, 18)]
    assert archived(archive) == requests_of(kept + lost + late)


async def answers(client: Connection) -> None:
    """Waits until the server answers again: the connection may not have noticed yet that it was gone."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(NatsError, TimeoutError):
                await client.jetstream(timeout=0.5).stream_info(durable_stream("credit"))
                return


async def cut(server: NatsServer, folder: Path) -> None:
    """Lets a server forget what it stored since its folder was copied."""
    server.kill()
    shutil.rmtree(folder / "nats")
    shutil.copytree(folder / "before", folder / "nats")
    await asyncio.to_thread(server.start)


async def test_junk_does_not_stop_it(client: Connection, tmp_path: Path) -> None:
    """What is no parcel, score or outcome is archived with its bytes, among the others."""
    js = client.jetstream()
    for subject in (input_subject("credit"), feedback_subject("credit"), score_subject("credit", "boosted", "r")):
        await js.publish(subject, b"\xffjunk")
    sent = await send(client, 2)
    async with archiving(client, tmp_path):
        report = await settled(client, tmp_path)
    assert report.is_complete
    for kind in ("inputs", "feedback", "scores"):
        assert [row["payload"] for row in rows_of(tmp_path, kind) if row["payload"]] == [b"\xffjunk"]
    assert sorted(row["request_id"] for row in rows_of(tmp_path, "inputs") if not row["payload"]) == requests_of(sent)


async def test_a_signature_changes_while_it_runs(client: Connection, tmp_path: Path) -> None:
    """New columns and changed types are new schemas beside the old ones; nothing falls back to bytes."""
    columns: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
        ([{"name": "amount", "type": "FP64"}], {"amount": [0.5]}),
        (
            [{"name": "amount", "type": "FP64"}, {"name": "purpose", "type": "STRING"}],
            {"amount": [1.0], "purpose": ["x"]},
        ),
        ([{"name": "amount", "type": "INT64"}], {"amount": [7]}),
    ]
    async with archiving(client, tmp_path):
        for inputs, values in columns:
            revision = await apply(client, credit_spec(inputs=inputs))
            await send_parcel(client, make_parcel((1,), values, spec_revision=revision))
            await settled(client, tmp_path)
    tables = tables_of(tmp_path, "inputs")
    assert [[(each.name, each.type) for each in signature_of(table.schema).values()] for table in tables] == [
        [(column["name"], column["type"]) for column in inputs] for inputs, _ in columns
    ]
    assert [table["amount"].to_pylist() for table in tables] == [[0.5], [1.0], [7]]
    assert all(table["payload"].null_count == table.num_rows for table in tables)


async def test_an_endpoint_without_declared_inputs(client: Connection, tmp_path: Path) -> None:
    """Its rows are kept as the frames that they were, and give no schema each."""
    revision = await apply(client, credit_spec(inputs=[]))
    parcels = [make_parcel((1,), {f"column{number}": [float(number)]}, spec_revision=revision) for number in range(5)]
    async with archiving(client, tmp_path, FlushLimits(messages=100, seconds=1)):
        for parcel in parcels:
            await send_parcel(client, parcel)
        await settled(client, tmp_path)
    frames = [v1.Frame.FromString(row["payload"]) for row in rows_of(tmp_path, "inputs")]
    assert [frame.columns[0].name for frame in frames] == [f"column{number}" for number in range(5)]
    assert len({table.schema for table in tables_of(tmp_path, "inputs")}) == 1


async def test_storage_that_fails_is_tried_again(client: Connection, tmp_path: Path) -> None:
    """While nothing can be written it is not well, holds a bounded amount, acknowledges nothing, and loses nothing."""
    blocked = tmp_path / "archive"
    blocked.write_text("not a folder")
    limits = FlushLimits(messages=20, seconds=0.05, credit=30, credit_bytes=1 << 20)
    async with archiving(client, blocked, limits) as archiver:
        sent = await send(client, 60)
        await until(lambda: bool(archiver.faults))
        assert not archiver.is_well
        assert "the archive" in archiver.faults[0]
        blocked.unlink()
        report = await settled(client, blocked)
        await until(lambda: archiver.is_well)
    assert report.is_complete
    assert archived(blocked) == requests_of(sent)


async def test_memory_is_bounded_when_storage_is_slow(
    client: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With writing stopped, it reads as much as its limits allow and no more, and goes on when writing goes on."""
    async with archiving(client, tmp_path, QUICK):
        sent = await send(client, 2)
        await settled(client, tmp_path)
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    put = store_module.put_entry

    def wait(*arguments: Any) -> None:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
        put(*arguments)

    monkeypatch.setattr(store_module, "put_entry", wait)
    parcels = [make_parcel((1,), {"amount": [0.0]}, router="r" * 100_000) for _ in range(100)]
    async with archiving(client, tmp_path, FlushLimits(messages=5, seconds=0.05, credit=64, credit_bytes=1 << 20)):
        for parcel in parcels:
            await send_parcel(client, parcel, models=())
        info = await client.jetstream().consumer_info(durable_stream("credit"), DECOY_CONSUMER)
        # One batch in the writer's hand, and no more than the limit held and on its way.
        assert 0 < (info.num_ack_pending or 0) < 2 * 3 * 11 + 10
        gate.set()
        report = await settled(client, tmp_path)
    assert report.is_complete
    assert archived(tmp_path) == requests_of(sent + parcels)


async def test_tenants_have_folders_of_their_own(client: Connection, tmp_path: Path) -> None:
    """Under one root, each tenant's record is apart."""
    await send(client, 2)
    for tenant in ("bank", "shop"):
        async with archiving(client, tmp_path, tenant=tenant):
            await until(lambda tenant=tenant: verify(tmp_path, tenant=tenant).requests == 2)  # type: ignore[misc]
    assert list_tenants(ArchiveRoot.parse(tmp_path)) == ["bank", "shop"]
