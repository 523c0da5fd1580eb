"""A whole installation for one test: nats-server, router, models, archive; each a real process."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.errors import BucketNotFoundError, NoKeysError
from rendezvous.spec import parse_spec
from rendezvous_proto.postbox import ENDPOINTS_BUCKET, ROUTERS_BUCKET
from rendezvous_router.nats_server import NatsServer, find_free_port
from rendezvous_router.spec_store import SpecStore

from tests.support.processes import Process, python, script
from toolchains.programs import Program

ADDRESS = re.compile(r"grpc (\S+:\d+)")

REST = re.compile(r"rest (https?://\S+:\d+)")

PAGE = re.compile(r"metrics (http://\S+:\d+)")

ENDPOINT: dict[str, Any] = {
    "endpoint": "sum",
    "inputs": [{"name": "a", "type": "FP64"}, {"name": "b", "type": "INT64"}, {"name": "tag", "type": "STRING"}],
    "outputs": [{"name": "total", "type": "FP64"}, {"name": "label", "type": "STRING"}],
    "models": {"first": {"role": "champion"}, "second": {"role": "challenger"}, "third": {"role": "challenger"}},
    "policy": {
        "deadline": "2s",
        "steps": [
            {"until": "300ms", "take": "best", "of": ["first"]},
            {"until": "1s", "take": "first"},
        ],
        "otherwise": {"total": -1.0, "label": "refer"},
    },
}


class Stack:
    """See the module's docstring. Everything it starts, `stop` ends."""

    def __init__(self, folder: Path, server: NatsServer) -> None:
        self.folder = folder
        self.server = server
        self.processes: list[Process] = []
        self.router: Process | None = None
        self.grpc_port = find_free_port()

    @property
    def address(self) -> str:
        """Address of the front door."""
        return f"127.0.0.1:{self.grpc_port}"

    async def apply(self, spec: Mapping[str, Any]) -> int:
        """Stores the specification of an endpoint and returns its revision."""
        client = await nats.connect(self.server.url.split(","))
        try:
            store = SpecStore(client)
            await store.ensure()
            return await store.put(parse_spec(spec))
        finally:
            await client.close()

    async def store_raw(self, endpoint: str, document: bytes) -> None:
        """Writes *document* into the bucket of specifications, past all checks."""
        client = await nats.connect(self.server.url.split(","))
        try:
            bucket = await client.jetstream().key_value(ENDPOINTS_BUCKET)
            await bucket.put(endpoint, document)
        finally:
            await client.close()

    def start_router(self, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
        """Starts a router and waits until it is ready."""
        command = python("-m", "rendezvous_router.main", "--nats", self.server.url, "--metrics-port", "0")
        command += ["--rest-port", "0"]
        self.router = self._start("router", [*command, "--grpc-port", str(self.grpc_port), *arguments], env)
        return self.router

    @property
    def rest(self) -> str:
        """Address of the REST front door, `http://host:port`."""
        assert self.router is not None, "start a router first"
        found = REST.search(self.router.ready_line)
        assert found is not None, self.router.ready_line
        return found[1]

    @property
    def page(self) -> str:
        """Address of the router's page for scrapes and probes, `http://host:port`."""
        assert self.router is not None, "start a router first"
        found = PAGE.search(self.router.ready_line)
        assert found is not None, self.router.ready_line
        return found[1]

    def start_model(self, target: str, *arguments: str, endpoint: str = "sum", name: str | None = None) -> Process:
        """Starts a model with `rendezvous-model serve` and waits until it is ready."""
        name = name or target.rpartition(":")[2]
        command = [script("rendezvous-model"), "serve", target, "--endpoint", endpoint, "--name", name]
        return self._start(name, [*command, "--nats", self.server.url, *arguments])

    def start_program(
        self, program: Program, *, name: str, endpoint: str = "sum", env: Mapping[str, str] | None = None
    ) -> Process:
        """Starts a program in any language that takes what it serves from its environment; waits until it is ready."""
        told = {
            "RENDEZVOUS_ENDPOINT": endpoint,
            "RENDEZVOUS_MODEL": name,
            "RENDEZVOUS_NATS": self.server.url,
            "RENDEZVOUS_ACK_WAIT": "500ms",
        }
        return self._start(name, list(program.command), {**program.env, **told, **(env or {})})

    def start_faulty(
        self, fault: str, *, name: str = "first", endpoint: str = "sum", subject: str = "input"
    ) -> Process:
        """Starts a model that misbehaves on the wire (`tests.support.faulty`) and waits until it is ready.

        With *subject* `raw` it is an enricher.
        """
        command = python("-m", "tests.support.faulty", self.server.url, endpoint, name, fault, subject)
        return self._start(name, command)

    def start_bridge(self, to: str, *arguments: str, model: str, endpoint: str = "sum") -> Process:
        """Starts a bridge to a model server and waits until it is ready."""
        command = [script("rendezvous"), "bridge", "--endpoint", endpoint, "--model", model, "--to", to]
        return self._start(f"bridge-{model}", [*command, "--nats", self.server.url, *arguments])

    def start_archive(self, archive: Path) -> Process:
        """Starts the process that archives."""
        command = python("-m", "rendezvous_router.cli", "archive", "--nats", self.server.url)
        return self._start("archive", [*command, "--archive", str(archive)])

    def stop(self) -> None:
        """Ends everything, the last started first."""
        for process in reversed(self.processes):
            process.kill()

    async def status(self) -> dict[str, Any]:
        """Returns the status that the newest router last wrote; waits until one has."""
        entries: list[dict[str, Any]] = []

        async def written() -> bool:
            entries[:] = await self.statuses()
            return bool(entries)

        await eventually(written, "a router writes its status")
        return max(entries, key=lambda entry: entry["started_unix_us"])

    async def router_pids(self) -> list[int]:
        """Returns the process ids of the routers that report, the oldest first."""
        entries = sorted(await self.statuses(), key=lambda entry: entry["started_unix_us"])
        return [entry["pid"] for entry in entries]

    async def statuses(self) -> list[dict[str, Any]]:
        """Returns the status of every router that reported lately."""
        client = await nats.connect(self.server.url.split(","))
        try:
            bucket = await client.jetstream().key_value(ROUTERS_BUCKET)
            return [json.loads((await bucket.get(key)).value or b"{}") for key in await bucket.keys()]
        except (BucketNotFoundError, NoKeysError):
            return []
        finally:
            await client.close()

    async def model_counts(self, model: str, is_enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Waits until the router's counts of *model* satisfy *is_enough*, and returns them."""
        counts: dict[str, Any] = {}

        async def look() -> bool:
            counts.update((await self.status())["endpoints"]["sum"]["models"].get(model, {}))
            return bool(counts) and is_enough(counts)

        await eventually(look, f"the counts of {model}")
        return counts

    def _start(self, name: str, command: list[str], env: Mapping[str, str] | None = None) -> Process:
        process = Process(command, log=self.folder / f"{name}-{len(self.processes)}.log", ready="ready", env=env)
        self.processes.append(process)
        process.wait_ready()
        return process


async def eventually(is_so: Callable[[], Awaitable[bool]], what: str, *, within_s: float = 20.0) -> None:
    """Waits until *is_so*; fails the test when it is not so in time."""
    give_up = time.monotonic() + within_s
    while not await is_so():
        if time.monotonic() > give_up:
            pytest.fail(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(0.05)
