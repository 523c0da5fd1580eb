"""How processes say that they are well, and how they are asked; how they end as the first process of a container."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rendezvous_health import ask_health, main
from rendezvous_proto.errors import UnavailableError
from rendezvous_router.cli import app
from rendezvous_router.nats_server import NatsServer, find_free_port
from rendezvous_sdk.health_door import HealthDoor
from typer.testing import CliRunner

from tests.support.processes import Process, python, script
from tests.support.stack import ENDPOINT, Stack

ARCHIVE = python("-m", "rendezvous_router.cli", "archive")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts processes, their logs in a folder of the test, and ends them."""
    started: list[Process] = []

    def run(command: list[str], **env: str) -> Process:
        log = tmp_path / f"{len(started)}.log"
        started.append(Process(command, log=log, ready="ready: ", env=env))
        return started[-1]

    yield run
    for process in started:
        if process.popen.poll() is None:
            process.kill()


def _until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Waits for what other processes do."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)


async def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0 and a line where the process is SERVING; 1 and why, in one line, where it is not."""
    is_well = True
    door = await HealthDoor.open("127.0.0.1", 0, lambda: is_well)
    address = f"127.0.0.1:{door.port}"

    async def ask(*arguments: str) -> tuple[int, str]:
        status = await asyncio.to_thread(main, arguments)
        written = capsys.readouterr()
        return status, (written.err if status else written.out).strip()

    async with asyncio.timeout(10):
        while (await ask(address))[0]:
            continue
        assert await ask(address, "--timeout", "5s") == (0, f"{address} is SERVING")
        unknown = f"{address}, service credit, does not know that service"
        assert await ask(address, "--service", "credit", "--timeout", "5s") == (1, unknown)
        is_well = False
        while not (await ask(address))[0]:
            continue
        assert await ask(address, "--timeout", "5s") == (1, f"{address} is NOT_SERVING")
        await door.close()
        status, why_not = await ask(address, "--timeout", "5s")
    assert status == 1
    assert why_not.startswith(f"{address} does not answer: UNAVAILABLE: ")
    assert "\n" not in why_not


def test_one_that_does_not_answer() -> None:
    """Whoever accepts a connection and says nothing is waited for as long as the timeout says."""
    import socket  # noqa: PLC0415 - here only

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert ask_health(address, timeout_s=0.3) == f"{address} has not answered within 0.3 s"


async def test_a_port_that_is_taken() -> None:
    """The error names the address."""
    door = await HealthDoor.open("127.0.0.1", 0, lambda: True)
    with pytest.raises(UnavailableError, match=f"cannot listen on 127.0.0.1:{door.port}"):
        await HealthDoor.open("127.0.0.1", door.port, lambda: True)
    await door.close()


@pytest.mark.parametrize(
    ("arguments", "port", "message"),
    [
        ([], "", "no address: give HOST:PORT, or set RENDEZVOUS_GRPC_PORT to the port"),
        ([], "0", "no address: give HOST:PORT, or set RENDEZVOUS_GRPC_PORT to the port"),
        (["localhost"], "", "address is 'localhost': write it as HOST:PORT"),
        (["localhost:1", "--timeout", "soon"], "", "timeout is 'soon': write it as 500ms or 1s, more than 0"),
        (["localhost:1", "--timeout", "0s"], "", "timeout is '0s': write it as 500ms or 1s, more than 0"),
    ],
)
def test_wrong_usage(
    arguments: list[str], port: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and what to write instead, from either command."""
    monkeypatch.setenv("RENDEZVOUS_GRPC_PORT", port)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code, message in capsys.readouterr().err) == (2, True)
    result = CliRunner().invoke(app, ["health", *arguments])
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\n")


def test_a_model_by_its_variable(start: Callable[..., Process], tmp_path: Path) -> None:
    """Without an address, the port of `RENDEZVOUS_GRPC_PORT` on this machine is asked, by either command."""
    (tmp_path / "rule.py").write_text("def score(table):\n    return {'y': table['x']}\n")
    port = str(find_free_port())
    command = [script("rendezvous-model"), "serve", "rule:score", "--endpoint", "e", "--no-postbox"]
    start(command, PYTHONPATH=str(tmp_path), RENDEZVOUS_GRPC_PORT=port).wait_ready()
    for asking in ([script("rendezvous-health")], [script("rendezvous"), "health"], python("-m", "rendezvous_health")):
        done = subprocess.run(
            [*asking, "--service", "rendezvous.v1.Score", "--timeout", "10s"],
            env={**os.environ, "RENDEZVOUS_GRPC_PORT": port},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (0, f"127.0.0.1:{port} is SERVING\n"), done.stderr
    result = CliRunner().invoke(app, ["health", f"127.0.0.1:{port}", "--timeout", "10s", "--json"])
    assert json.loads(result.stdout)["serving"] is True


def test_the_archive(start: Callable[..., Process], tmp_path: Path) -> None:
    """NOT_SERVING before it is connected, SERVING while it is, by its variables; its log is JSON if asked for."""
    server = NatsServer(store=tmp_path / "nats")
    port = find_free_port()
    address = f"127.0.0.1:{port}"
    archive = tmp_path / "kept"
    variables = {"RENDEZVOUS_ARCHIVE": str(archive), "RENDEZVOUS_LOG_FORMAT": "json"}
    process = start(ARCHIVE, RENDEZVOUS_NATS=server.url, RENDEZVOUS_GRPC_PORT=str(port), **variables)
    _until(lambda: ask_health(address) == f"{address} is NOT_SERVING")
    server.start()
    try:
        assert process.wait_ready() == f"ready: archive {archive}, tenant default, grpc {address}"
        _until(lambda: ask_health(address) == "")
    finally:
        server.stop()
    _until(lambda: ask_health(address) == f"{address} is NOT_SERVING")
    assert process.stop() == 0
    events = [json.loads(line) for line in process.log.read_text().splitlines()]
    assert "draining; a second signal ends this process at once" in [event["event"] for event in events]


def test_an_archive_without_nats_ends(start: Callable[..., Process]) -> None:
    """While it waits for NATS, SIGTERM ends it with status 0."""
    process = start(ARCHIVE, RENDEZVOUS_NATS=f"nats://127.0.0.1:{find_free_port()}")
    _until(lambda: "NATS at" in process.log.read_text())
    assert process.stop() == 0


async def test_the_bridge(nats_server: NatsServer, tmp_path: Path) -> None:
    """SERVING while it reads the postbox: not before its model server is up, nor after that went down."""
    stack = Stack(tmp_path, nats_server)
    try:
        await stack.apply(ENDPOINT)
        stack.start_router()
        port, far_port = find_free_port(), find_free_port()
        command = [script("rendezvous"), "bridge", "--endpoint", "sum", "--model", "tree:1"]
        command += ["--to", f"grpc://127.0.0.1:{far_port}", "--nats", nats_server.url, "--grpc-port", str(port)]
        bridge = Process(command, log=tmp_path / "bridge.log", ready="ready")
        stack.processes.append(bridge)
        address = f"127.0.0.1:{port}"
        await asyncio.to_thread(_until, lambda: ask_health(address) == f"{address} is NOT_SERVING")
        far = stack.start_model("tests.support.models:first", "--no-postbox", "--grpc-port", str(far_port))
        await asyncio.to_thread(bridge.wait_ready)
        await asyncio.to_thread(_until, lambda: ask_health(address) == "")
        await asyncio.to_thread(far.kill)
        await asyncio.to_thread(_until, lambda: ask_health(address) == f"{address} is NOT_SERVING")
        assert await asyncio.to_thread(bridge.stop) == 0
    finally:
        stack.stop()


SLOW_START = "import time\nprint('loading', flush=True)\ntime.sleep(600)\n"
SLOW_STOP = """
import time

class Slow:
    def score(self, table):
        return {'y': table['x']}

    def close(self):
        print('closing', flush=True)
        time.sleep(600)
"""


def _as_first_process(command: list[str], **options: Any) -> "tuple[subprocess.Popen[str], int]":
    """Starts a command as process 1 of a process namespace; returns what holds it, and its id out here."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("needs unshare and root, to make a process namespace")
    holder = subprocess.Popen(
        [unshare, "--fork", "--pid", "--kill-child", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    _until(lambda: psutil.Process(holder.pid).children())
    return holder, psutil.Process(holder.pid).children()[0].pid


@pytest.mark.parametrize(
    ("source", "target", "line", "signals", "status"),
    [
        (SLOW_START, "slow:score", "loading", 1, 0),
        (SLOW_STOP, "slow:Slow", "ready", 1, 1),
        (SLOW_STOP, "slow:Slow", "ready", 2, 128 + signal.SIGTERM),
    ],
    ids=["while it loads", "that does not close", "told twice"],
)
def test_a_model_as_process_1(tmp_path: Path, source: str, target: str, line: str, signals: int, status: int) -> None:
    """SIGTERM ends process 1 while it loads, drains it when it serves, and a second one ends it at once."""
    (tmp_path / "slow.py").write_text(source)
    command = [script("rendezvous-model"), "serve", target, "--endpoint", "e", "--no-postbox"]
    holder, pid = _as_first_process(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=tmp_path)
    try:
        assert holder.stdout is not None
        while not (said := holder.stdout.readline()).startswith(line):
            assert said, "it ended"
        os.kill(pid, signal.SIGTERM)
        if signals == 2:
            while not (said := holder.stdout.readline()).startswith("closing"):
                assert said, "it ended"
            os.kill(pid, signal.SIGTERM)
        assert holder.wait(15) == status
    finally:
        holder.kill()
        holder.communicate()
