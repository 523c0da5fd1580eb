"""The archive against a real nats-server: everything in it, exactly, once, whatever happens on the way."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk.nats_connection import Connection, connect

from tests.support.archiving import (
    apply,
    archiving,
    credit_spec,
    make_parcel,
    rows_of,
    send_parcel,
    settled,
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
    for model in ("boosted", "logit"):
        scored = [(row["request_id"], row["row"]) for row in rows_of(tmp_path, "scores") if row["model"] == model]
        assert sorted(scored) == sorted(wanted)
