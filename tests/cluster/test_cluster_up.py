"""`rendezvous up` on a cluster of local processes."""

import asyncio
import signal
from pathlib import Path

from rendezvous_proto.postbox import durable_stream
from rendezvous_sdk import AsyncClient

from tests.support.cluster import NatsCluster
from tests.support.processes import Process, python

SPEC = """
endpoint: sum
inputs: [{name: a, type: FP64}, {name: b, type: INT64}, {name: tag, type: STRING}]
outputs: [{name: total, type: FP64}, {name: label, type: STRING}]
models: {first: {role: champion}}
policy: {deadline: 2s, steps: [{take: best}], otherwise: {total: -1.0, label: refer}}
postbox: {replicas: 3}
"""
PROJECT = """
endpoints: [sum.yaml]
models:
  first:
    run: rendezvous-model serve tests.support.models:first --endpoint sum --name first
    replicas: 2
    env: {PYTHONPATH: %s}
ports: {grpc: 0}
"""
ROOT = Path(__file__).parents[2]
TABLE = {"a": [1.5], "b": [2], "tag": ["x"]}


async def test_a_project_runs_on_a_cluster(nats_cluster: NatsCluster, tmp_path: Path) -> None:
    """A project is told the cluster's addresses, scores, outlives the stream's leader, and ends with exit code 0."""
    (tmp_path / "sum.yaml").write_text(SPEC)
    (tmp_path / "rendezvous.yaml").write_text(PROJECT % ROOT)
    up = Process(
        python("-m", "rendezvous_router.cli", "up", "--nats", nats_cluster.urls, "--json"),
        log=tmp_path / "up.log",
        ready=r'.*"grpc"',
        cwd=tmp_path,
        new_session=True,
    )
    try:
        line = await asyncio.to_thread(up.wait_ready)
        address = line.split('"grpc": "')[1].split('"')[0]
        async with AsyncClient(address, endpoint="sum") as client:
            assert list((await client.score(TABLE))["total"]) == [3.5]
            leader = await nats_cluster.leader_of(durable_stream("sum"))
            assert leader is not None
            await asyncio.to_thread(nats_cluster.kill, leader)
            answer = await client.score(TABLE, timeout=30.0)
            assert list(answer["total"]) in ([3.5], [-1.0])
        up.signal(signal.SIGTERM)
        assert await asyncio.to_thread(up.stop) == 0
    finally:
        await asyncio.to_thread(up.stop_group)
