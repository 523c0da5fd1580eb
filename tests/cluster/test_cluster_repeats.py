"""A retry that meets another router: docs/cluster.md, "Retries"."""

from pathlib import Path
from typing import Any

from rendezvous_router.nats_server import find_free_port
from rendezvous_router.record import read_decisions
from rendezvous_sdk.nats_connection import connect

from tests.support.archiving import verify
from tests.support.caller import Caller
from tests.support.stack import ENDPOINT, Stack, eventually

SPEC: dict[str, Any] = {
    **ENDPOINT,
    "models": {"first": {"role": "champion"}},
    "policy": {"deadline": "3s", "steps": [{"take": "best"}], "otherwise": "error"},
    "postbox": {"replicas": 3},
}


async def test_each_router_answers_an_id_once(cluster_stack: Stack, tmp_path: Path) -> None:
    """The same router repeats its answer; another one scores anew: equal rows, two decisions, two parcels, one id."""
    await cluster_stack.apply(SPEC)
    addresses = []
    for _ in range(2):
        cluster_stack.grpc_port = find_free_port()
        cluster_stack.start_router()
        addresses.append(cluster_stack.address)
    cluster_stack.start_model("tests.support.models:first")
    cluster_stack.start_archive(tmp_path / "archive")
    table = {"a": [1.5], "b": [2], "tag": ["x"]}
    async with Caller(addresses[0]) as one, Caller(addresses[1]) as other:
        answer = await one.score(table, request_id="again")
        repeated = await one.score(table, request_id="again")
        elsewhere = await other.score(table, request_id="again")
    assert repeated == answer
    assert elsewhere.decision != answer.decision
    assert elsewhere.outputs == answer.outputs

    client = await connect(cluster_stack.server.url, name="test", timeout_s=5)
    try:

        async def recorded() -> bool:
            found = [record async for record in read_decisions(client, "sum")]
            return [record.decision.request_id for record in found] == ["again", "again"]

        await eventually(recorded, "each router's decision is in the record, once")

        async def archived() -> bool:
            report = verify(tmp_path / "archive", "sum")
            return (report.parcels, report.requests, report.repeated_requests) == (2, 1, ("again",))

        await eventually(archived, "both parcels are in the archive, and the id is named as repeated")
    finally:
        await client.close()
