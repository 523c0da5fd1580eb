"""A candidate that is started for the replay, with a nats-server of its own: the live one never hears of it."""

import asyncio
import contextlib
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from rendezvous.spec import parse_spec
from rendezvous_proto import v1
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.nats_connection import connect

from rendezvous_router.conformance.program import Program, ProgramError
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.replay.errors import ReplayError
from rendezvous_router.replay.signature import check_identity
from rendezvous_router.streams import ensure_streams

__all__ = ["started_candidate"]

_NATS_LIMIT_S = 20.0
_POLL_S = 0.02
_END_LIMIT_S = 5.0
_CONNECT_LIMIT_S = 5.0
_UNSET = (
    "RENDEZVOUS_KEY",
    "RENDEZVOUS_KEY_FILE",
    "RENDEZVOUS_CA",
    "RENDEZVOUS_CERT",
    "RENDEZVOUS_CERT_KEY",
    "RENDEZVOUS_TLS",
    "RENDEZVOUS_SINCE",
)
"""Meant for the live NATS; an empty variable sets nothing."""


@contextlib.asynccontextmanager
async def started_candidate(
    command: str, *, endpoint: str, name: str, version: str, ready_limit_s: float
) -> AsyncIterator[str]:
    """Starts a model program and yields the address at which it serves `Score`; ends it afterwards.

    The program finds in its environment what every model program finds there; NATS is an empty one of its own, with
    the endpoint's streams, so it becomes ready as ever and gets no parcel. Both end also when this process is killed.
    They belong to this process's session, and so to what it has stepped back with.

    Args:
        command: command line, without shell syntax.
        endpoint: endpoint that it is told.
        name: name that it is told.
        version: version that it is told.
        ready_limit_s: seconds in which it must be ready.

    Raises:
        ReplayError: it cannot be started, is not ready in time, or serves no gRPC.
    """
    folder = Path(tempfile.mkdtemp(prefix="rendezvous-replay-"))
    programs: list[Program] = []
    lifeline = await _open_lifeline()
    try:
        server = NatsServer(store=folder / "nats", relaxed=True)
        serving = Program(
            shlex.join(server.prepare()), environment={}, log=folder / "nats.log", says_ready=False, own_session=False
        )
        programs.append(serving)
        await _start(serving, lifeline)
        await serving.beside(_until_accepting(server))
        await _make_streams(server.url, endpoint, name)
        told = {
            "RENDEZVOUS_ENDPOINT": endpoint,
            "RENDEZVOUS_MODEL": name,
            "RENDEZVOUS_VERSION": version,
            "RENDEZVOUS_NATS": server.url,
            "RENDEZVOUS_GRPC_HOST": "127.0.0.1",
            "RENDEZVOUS_GRPC_PORT": "0",
            **dict.fromkeys(_UNSET, ""),
        }
        program = Program(command, environment=told, log=folder / "program.log", own_session=False)
        programs.append(program)
        await _start(program, lifeline)
        ready = await program.wait_ready(ready_limit_s)
        check_identity(v1.ModelInfo(name=ready.model, version=ready.version), name, version, f"the program {command!r}")
        if not ready.grpc:
            raise ReplayError(f"the program {command!r} serves no gRPC: a replay asks its service Score")
        yield ready.grpc
    except ProgramError as error:
        raise ReplayError(str(error)) from error
    finally:
        for each in reversed(programs):
            await _end(each)
        await _close_lifeline(lifeline)
        await asyncio.to_thread(shutil.rmtree, folder)


async def _start(program: Program, lifeline: asyncio.subprocess.Process) -> None:
    await program.start()
    if lifeline.stdin is not None:
        lifeline.stdin.write(f"+{program.pid}\n".encode())
        await lifeline.stdin.drain()


async def _end(program: Program) -> None:
    program.signal(signal.SIGTERM)
    if program.is_running:
        with contextlib.suppress(ProgramError):  # not in time: then it is killed
            await program.wait_ended(_END_LIMIT_S)
    if program.returncode is not None or program.is_running:
        await program.kill()


async def _until_accepting(server: NatsServer) -> None:
    async with asyncio.timeout(_NATS_LIMIT_S):
        while not await asyncio.to_thread(server.accepts):  # noqa: ASYNC110 - a port has no event
            await asyncio.sleep(_POLL_S)


async def _make_streams(url: str, endpoint: str, model: str) -> None:
    nc = await connect(url, name="rendezvous replay", timeout_s=_CONNECT_LIMIT_S, credentials=Credentials())
    try:
        spec = {
            "endpoint": endpoint,
            "inputs": [],
            "outputs": [{"name": "any", "type": "FP64"}],
            "models": {model: {"role": "champion"}},
            "policy": {"deadline": "10s"},
        }
        await ensure_streams(nc, parse_spec(spec))
    finally:
        await nc.close()


async def _open_lifeline() -> asyncio.subprocess.Process:
    """Returns the process that ends the groups it is named when this one is gone, however it ended."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rendezvous_router.lifeline",
        "1",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def _close_lifeline(lifeline: asyncio.subprocess.Process) -> None:
    if lifeline.stdin is not None:
        lifeline.stdin.close()
    await lifeline.wait()
