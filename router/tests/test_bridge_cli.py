"""The command `rendezvous bridge`: what it refuses at start, what it waits for, and how it ends."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from rendezvous_proto import v1
from rendezvous_proto.postbox import consumer_name, durable_stream
from rendezvous_router.cli import app
from rendezvous_router.nats_server import NatsServer, find_free_port
from rendezvous_sdk.nats_connection import connect
from typer.testing import CliRunner

from tests.support.processes import Process, script
from tests.support.stack import ENDPOINT, Stack

SERVE = ["bridge", "--endpoint", "sum", "--model", "tree:1"]


class Odd(v1.ScoreServicer):
    """A model that takes a column which endpoint `sum` does not have."""

    def Describe(self, request: Any, context: Any) -> v1.ModelInfo:  # noqa: N802 - gRPC
        """Says what it takes."""
        column = v1.ColumnSpec(name="aa", type="DATA_TYPE_FP64")
        return v1.ModelInfo(signature=v1.Signature(inputs=[column]))


@pytest.fixture
def odd_port() -> Iterator[int]:
    """Port of a server with that model."""
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    v1.add_ScoreServicer_to_server(Odd(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


@pytest.fixture
def stack(tmp_path: Path, nats_server: NatsServer) -> Iterator[Stack]:
    """An installation with nothing in it but a running nats-server."""
    installation = Stack(tmp_path, nats_server)
    try:
        yield installation
    finally:
        installation.stop()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "htp://h:1/m"], "scheme 'htp' is unknown"),
        (["--to", "oip+grpc://h:1"], "does not name the model"),
        (["--to", "grpc://h:1", "--inputs", "x=[a"], "--inputs: 'x=[a' cannot be read"),
        (["--to", "grpc://h:1", "--mapping", "none.yaml"], "none.yaml: cannot be read"),
        (["--to", "grpc://h:1", "--timeout", "soon"], "--timeout: 'soon' is not a duration"),
        (["--to", "grpc://h:1", "--concurrency", "0"], "concurrency is 0; allowed is 1 to 256"),
        (["--to", "grpc://h:1", "--model", "a.b"], "model 'a.b' is not allowed"),
    ],
)
def test_wrong_options_end_with_status_2(arguments: list[str], message: str) -> None:
    """What can be known from the command line is said at once."""
    result = CliRunner().invoke(app, [*SERVE, *arguments], env={"RENDEZVOUS_NATS": "nats://127.0.0.1:1"})
    assert result.exit_code == 2
    assert message in result.stderr


def test_parameters_are_open_inference(tmp_path: Path) -> None:
    """A mapping with request parameters is refused for a server of Score, which has none."""
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("parameters: {content_type: pd}")
    result = CliRunner().invoke(app, [*SERVE, "--to", "grpc://127.0.0.1:1", "--mapping", str(mapping)])
    assert result.exit_code == 2
    assert "belong to oip+grpc and oip+http" in result.stderr


async def test_a_model_that_does_not_fit_the_endpoint_ends_with_status_2(stack: Stack, odd_port: int) -> None:
    """Endpoint and model are compared before anything is served; the nearest column is named."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    command = [script("rendezvous"), *SERVE, "--to", f"grpc://127.0.0.1:{odd_port}", "--nats", stack.server.url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "takes 'aa' (FP64[]) of column 'aa', which the endpoint does not have; did you mean 'a'?" in done.stderr
    assert "ready" not in done.stdout
    nc = await connect(stack.server.url, name="test", timeout_s=5.0)
    consumers = await nc.jetstream().consumers_info(durable_stream("sum"))
    await nc.close()
    assert consumer_name("tree", "1") not in [consumer.name for consumer in consumers]


async def test_a_bridge_to_the_endpoints_own_router_ends_with_status_2(stack: Stack) -> None:
    """Its parcels would multiply."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    command = [script("rendezvous"), *SERVE, "--to", f"grpc://{stack.address}", "--nats", stack.server.url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "is a router of endpoint sum itself" in done.stderr


async def test_it_says_what_it_waits_for_and_ends_when_asked(stack: Stack) -> None:
    """Without a model server, and then without the endpoint, it waits, says so, and ends on SIGTERM with status 0."""
    nobody, served = find_free_port(), find_free_port()
    stack.start_model("tests.support.models:first", "--no-postbox", "--grpc-port", str(served))
    for port, message in ((nobody, "waiting for the model server"), (served, "waiting for stream RV_sum")):
        log = stack.folder / f"bridge-{message[-3:]}.log"
        command = [script("rendezvous"), *SERVE, "--to", f"grpc://127.0.0.1:{port}", "--nats", stack.server.url]
        bridge = Process(command, log=log, ready="ready")
        stack.processes.append(bridge)
        _wait_for(bridge, log, message)
        assert bridge.stop() == 0


def _wait_for(process: Process, log: Path, text: str) -> None:
    """Follows a log until *text* is in it."""
    with subprocess.Popen(["tail", "-n", "+1", "-f", str(log)], stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        for line in tail.stdout:
            if text in line:
                break
            assert process.popen.poll() is None, process.tail()
        tail.kill()


def test_the_environment_names_endpoint_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, model and version may come from the environment, as for model programs."""
    monkeypatch.setenv("RENDEZVOUS_ENDPOINT", "sum")
    monkeypatch.setenv("RENDEZVOUS_MODEL", "a.b")
    result = CliRunner().invoke(app, ["bridge", "--to", "grpc://127.0.0.1:1"], env=dict(os.environ))
    assert result.exit_code == 2
    assert "model 'a.b' is not allowed" in result.stderr
