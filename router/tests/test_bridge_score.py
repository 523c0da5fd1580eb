"""A bridge before a model that implements only the service `Score`; all of it real processes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rendezvous_router.nats_server import NatsServer, find_free_port

from tests.support.caller import Caller
from tests.support.processes import Process, script
from tests.support.stack import ENDPOINT, Stack, eventually

ALONE: dict[str, Any] = {
    **ENDPOINT,
    "models": {"steady": {"role": "champion"}},
    "policy": {"deadline": "40s", "steps": [{"take": "best"}], "otherwise": "error"},
}
"""One model, and no way round it."""


@pytest.fixture
def stack(tmp_path: Path, nats_server: NatsServer) -> Iterator[Stack]:
    """An installation with nothing in it but a running nats-server."""
    installation = Stack(tmp_path, nats_server)
    try:
        yield installation
    finally:
        installation.stop()


def start_bare(stack: Stack, target: str, port: int) -> Process:
    """Starts a model that serves gRPC alone."""
    return stack.start_model(f"tests.support.models:{target}", "--no-postbox", "--grpc-port", str(port))


def bridge_command(stack: Stack, to: str, *arguments: str, model: str = "steady:1") -> list[str]:
    """Returns the command line of a bridge at endpoint `sum`."""
    options = ["--endpoint", "sum", "--model", model, "--to", to, "--nats", stack.server.url]
    return [script("rendezvous"), "bridge", *options, *arguments]


def start_bridge(stack: Stack, to: str, *arguments: str, model: str = "steady:1") -> Process:
    """Starts a bridge and waits until it is ready."""
    command = bridge_command(stack, to, *arguments, model=model)
    process = Process(command, log=stack.folder / f"bridge-{len(stack.processes)}.log", ready="ready")
    stack.processes.append(process)
    process.wait_ready()
    return process


async def test_every_request_is_answered_when_the_model_server_is_killed_and_restarted(stack: Stack) -> None:
    """The only model's server is killed under load and comes back some seconds later: every request gets its answer."""
    await stack.apply(ALONE)
    stack.start_router()
    port = find_free_port()
    server = start_bare(stack, "steady", port)
    bridge = start_bridge(stack, f"grpc://127.0.0.1:{port}")
    assert bridge.ready_line.endswith(f"grpc 127.0.0.1:{port}")
    sums: dict[int, float] = {}

    async def ask(caller: Caller, number: int) -> None:
        reply = await caller.score({"a": [float(number)], "b": [1], "tag": ["x"]}, timeout_s=60)
        assert (reply.model, reply.version) == ("steady", "1")
        sums[number] = float(memoryview(reply.outputs.columns[0].values).cast("d")[0])

    async def client(caller: Caller, first: int) -> None:
        for number in range(first, 800, 8):
            await ask(caller, number)

    async def kill_and_restart() -> None:
        await eventually(lambda: _is(len(sums) >= 150), "the load runs")
        server.kill()
        await eventually(lambda: _shown(stack, "1 (1 down)"), "the bridge says that its model server is down")
        start_bare(stack, "steady", port)

    async with Caller(stack.address) as caller:
        await asyncio.gather(kill_and_restart(), *[client(caller, first) for first in range(8)])
    assert sums == {number: number + 1.0 for number in range(800)}
    assert bridge.stop() == 0
    assert "stepping back" in bridge.log.read_text()


async def _shown(stack: Stack, text: str) -> bool:
    """Whether `rendezvous models` prints *text*."""
    command = [script("rendezvous"), "models", "sum", "--nats", stack.server.url]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return text in output.decode()


async def _is(value: bool) -> bool:
    return value
