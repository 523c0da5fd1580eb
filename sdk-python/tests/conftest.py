"""Real processes for the SDK's tests: served models, and a stand-in for the router at the postbox."""

import asyncio
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame, join_frames
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import durable_stream, durable_subjects, input_subject
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk.nats_connection import Connection, connect

_READY = re.compile(r"ready: model (\S+):(\S+) of endpoint (\S+), replica (\S+), (?:grpc (\S+)|no grpc)")
_READY_LIMIT_S = 40.0


class Served:
    """A child process that serves a model."""

    def __init__(self, arguments: list[str], variables: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-c", "from rendezvous_sdk.cli import app; app()", "serve", *arguments]
        environment = {**os.environ, "RENDEZVOUS_LOG_LEVEL": "INFO", "PYTHONUNBUFFERED": "1", **(variables or {})}
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parent,
            env=environment,
        )
        self.lines: list[str] = []
        self._ready: queue.SimpleQueue[re.Match[str] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self) -> re.Match[str]:
        """Returns the match of the next line of readiness; fails with the output if the process ended."""
        match = self._ready.get(timeout=_READY_LIMIT_S)
        assert match is not None, "".join(self.lines)
        return match

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)
                if match := _READY.match(line):
                    self._ready.put(match)
        self._ready.put(None)

    def end(self) -> None:
        """Kills the process if it lives, and reads what it has said."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()


class StartModel(Protocol):
    """Starts `served_models:<name>` with further arguments and variables."""

    def __call__(self, name: str, *arguments: str, variables: Mapping[str, str] | None = None) -> Served:
        """Returns the started process."""
        ...


@pytest.fixture
def start_model() -> Iterator[StartModel]:
    """Starts models as child processes and ends them afterwards."""
    started: list[Served] = []

    def start(name: str, *arguments: str, variables: Mapping[str, str] | None = None) -> Served:
        served = Served([f"served_models:{name}", "--endpoint", "e", *arguments], variables)
        started.append(served)
        return served

    yield start
    for served in started:
        served.end()


class Router:
    """Publishes parcels to endpoint `e` and collects the scores, as a router would."""

    def __init__(self, nc: Connection) -> None:
        self.nc = nc
        self.scores: list[v1.ParcelScore] = []

    async def open(self) -> None:
        """Makes the stream and subscribes."""
        await self.nc.jetstream().add_stream(name=durable_stream("e"), subjects=durable_subjects("e"))
        await self.nc.subscribe("rv.*.score.*.router", cb=self._take)

    async def _take(self, msg: Msg) -> None:
        self.scores.append(v1.ParcelScore.FromString(msg.data))

    async def send(self, *tables: dict[str, Any], budget_s: float = 60.0, traces: Sequence[str] = ()) -> str:
        """Publishes one parcel of one request for each table, with its trace context; returns its id once stored."""
        frames = [encode_frame(table) for table in tables]
        parcel = v1.Parcel(
            parcel_id=new_id(),
            endpoint="e",
            router="router",
            sealed_unix_us=time.time_ns() // 1000,
            items=[
                v1.ParcelItem(request_id=new_id(), rows=frame.rows, budget_us=round(budget_s * 1e6), traceparent=trace)
                for frame, trace in zip_longest(frames, traces, fillvalue="")
            ],
            inputs=join_frames(frames),
        )
        await self.nc.jetstream().publish(input_subject("e"), parcel.SerializeToString(), timeout=5)
        return parcel.parcel_id

    async def wait_scores(self, parcel_ids: set[str], timeout_s: float = 30.0) -> dict[str, v1.ParcelScore]:
        """Waits until each parcel has a score; returns the first of each."""
        async with asyncio.timeout(timeout_s):
            # the subscription has no event of its own
            while not parcel_ids <= {score.parcel_id for score in self.scores}:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return {score.parcel_id: score for score in reversed(self.scores)}


@pytest_asyncio.fixture
async def router(nats_server: NatsServer) -> AsyncIterator[Router]:
    """The stand-in, with the endpoint's stream made."""
    nc = await connect(nats_server.url, name="router", timeout_s=5)
    made = Router(nc)
    await made.open()
    yield made
    await nc.close()


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits until a condition holds; fails after a limit."""

    async def wait(condition: Callable[[], object], *, timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)

    return wait
