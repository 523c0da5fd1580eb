"""What the cases are given: the target, called over gRPC and met at its postbox, and its processes."""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from nats.js.errors import BucketNotFoundError, NoKeysError
from rendezvous.spec import parse_spec
from rendezvous_proto import v1
from rendezvous_proto.postbox import MODELS_BUCKET, REPLICAS_BUCKET, durable_stream
from rendezvous_sdk.nats_connection import Connection, connect

from rendezvous_router.conformance.caller import Caller
from rendezvous_router.conformance.case import Failed, Need
from rendezvous_router.conformance.frames import InputMaker
from rendezvous_router.conformance.postman import Postman
from rendezvous_router.conformance.program import Program, ProgramError
from rendezvous_router.conformance.target import Target
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.streams import ensure_streams

__all__ = ["ACK_WAIT_S", "PROBE_TASK", "SCORING_LIMIT_S", "Site", "SiteError", "SiteOptions", "Startup"]

PROBE_TASK = "conformance probe"
ACK_WAIT_S = 0.5
"""`ack_wait` of programs that the kit starts."""
SCORING_LIMIT_S = 2.0
"""Scoring limit of programs that the kit starts."""
_CONNECT_LIMIT_S = 5.0
_ASK_SHARE = 2 / 3
"""Part of the time to start that a program has to ask for its stream, which is only then made."""
_VERSION = "1.0"


class SiteError(RuntimeError):
    """The target cannot be reached or started; the message tells what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOptions:
    """What is tried, and how."""

    target: Target
    """What is tried."""
    run: str = ""
    """Command line of the model program; empty: the target runs already."""
    nats: str = "nats://127.0.0.1:4222"
    """Address of NATS, for a target that runs already."""
    publish: bool = False
    """Whether parcels may be put into the postbox of a target that runs already."""
    examples: tuple[Mapping[str, Any], ...] = ()
    """Rows to take input values from."""
    ready_limit_s: float = 30.0
    """Seconds in which a program must be ready."""
    scoring_limit_s: float = SCORING_LIMIT_S
    """Scoring limit of programs that the kit starts."""


@dataclass(slots=True)
class Startup:
    """What was seen while the program started, before its endpoint's streams existed."""

    asked: bool = False
    """Whether it asked for the stream."""
    was_ready: bool = False
    """Whether it said that it was ready."""


class Site:
    """The target and what the kit needs around it. Made by `open`, ended by `close`; belongs to the event loop."""

    def __init__(self, options: SiteOptions, folder: Path) -> None:
        self.options = options
        self.startup = Startup()
        self.endpoint, self.model = options.target.endpoint, options.target.model
        self.version = options.target.version
        self.info = v1.ModelInfo()
        self.server: NatsServer | None = None
        self.programs: list[Program] = []
        self._folder = folder
        self._started = 0
        self._caller: Caller | None = None
        self._postman: Postman | None = None
        self._inputs: InputMaker | None = None

    @classmethod
    async def open(cls, options: SiteOptions) -> "Site":
        """Starts or finds the target.

        Raises:
            SiteError: it cannot be started, or is not there.
        """
        site = cls(options, Path(tempfile.mkdtemp(prefix="rendezvous-conformance-")))
        try:
            await site._open()
        except (ProgramError, Failed, ConnectionError) as error:
            await site.close()
            raise SiteError(str(error)) from error
        except BaseException:
            await site.close()
            raise
        return site

    @property
    def caller(self) -> Caller:
        """Calls the target over gRPC."""
        assert self._caller is not None, "cases that call need a gRPC address"
        return self._caller

    @property
    def is_callable(self) -> bool:
        """Whether the target has a gRPC address."""
        return self._caller is not None

    @property
    def postman(self) -> Postman:
        """Meets the target at its postbox."""
        assert self._postman is not None, "cases at the postbox need one"
        return self._postman

    @property
    def inputs(self) -> InputMaker:
        """Makes tables that fit the target."""
        assert self._inputs is not None, "made by `open`"
        return self._inputs

    @property
    def nc(self) -> Connection:
        """The kit's connection to NATS."""
        return self.postman.nc

    @property
    def is_probe(self) -> bool:
        """Whether the target is the probe."""
        return self.info.task == PROBE_TASK

    @property
    def there(self) -> frozenset[Need]:
        """What cases can count on."""
        runs = bool(self.options.run)
        found = {
            Need.GRPC: self._caller is not None,
            Need.POSTBOX: self._postman is not None,
            Need.PUBLISH: runs or self.options.publish,
            Need.RUN: runs,
            Need.PROBE: self.is_probe,
        }
        return frozenset(need for need, is_there in found.items() if is_there)

    async def replicas(self, count: int) -> list[Program]:
        """Returns running programs, *count* at least; starts what lacks, all at once."""
        self.programs = [program for program in self.programs if program.is_running]
        while len(self.programs) < count:
            self.programs.append(await self._start())
        for program in self.programs:
            await program.wait_ready(self.options.ready_limit_s)
        return list(self.programs)

    async def mend(self) -> None:
        """Starts the program again where none runs any more, and calls one that runs."""
        if not self.options.run:
            return
        if self.options.target.address:
            await self._mend_caller_only()
            return
        first = (await self.replicas(1))[0]
        address = first.ready.grpc if first.ready else ""
        if self._caller is None or self._caller.address != address:
            await self._call(address)

    async def restart_broker(self) -> float:
        """Kills the kit's nats-server and starts it again on what it had stored; the kit is connected afterwards.

        Returns:
            When the server was back, by the monotonic clock.
        """
        assert self.server is not None, "cases that restart the broker need --run"
        await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(self.server.start)
        back = time.monotonic()
        async with asyncio.timeout(_CONNECT_LIMIT_S):
            while not self.nc.is_connected:  # noqa: ASYNC110 - nats-py has no event for it
                await asyncio.sleep(0.01)
            await self.nc.flush()
        return back

    def log_tail(self) -> str:
        """Returns the end of the log of the program started last; empty without one."""
        return self.programs[-1].tail() if self.programs else ""

    async def close(self) -> None:
        """Ends everything that the kit started."""
        if self._caller is not None:
            await self._caller.close()
        for program in self.programs:
            await program.kill()
        if self._postman is not None:
            await self._postman.nc.close()
        if self.server is not None:
            await asyncio.to_thread(self.server.stop)
        await asyncio.to_thread(shutil.rmtree, self._folder)

    async def _open(self) -> None:
        target = self.options.target
        if target.address:
            await self._open_address()
        elif self.options.run:
            await self._open_program()
        else:
            await self._open_live()
        self._inputs = InputMaker(self.info.signature, is_probe=self.is_probe, examples=self.options.examples)

    async def _open_address(self) -> None:
        await self._mend_caller_only()
        self.model, self.version = self.info.name, self.info.version

    async def _mend_caller_only(self) -> None:
        address = self.options.target.address
        if self.options.run and not any(program.is_running for program in self.programs):
            self.programs = [await self._start()]
            await self._call(address)
            self.info = await self._described_by(self.programs[0])
        elif self._caller is None:
            await self._call(address)
            self.info = await self.caller.reach()

    async def _described_by(self, program: Program) -> v1.ModelInfo:
        """Waits until a program that was just started answers; it prints no line of readiness."""
        limit_s = self.options.ready_limit_s
        try:
            return await program.beside(self.caller.describe(timeout_s=limit_s))
        except Failed as error:
            raise ProgramError(
                f"the program {program.command!r} did not describe its model at grpc://{self.caller.address} within "
                f"{limit_s:g} s ({error}); {program.last_words()}"
            ) from error

    async def _open_program(self) -> None:
        self.version = self.version or _VERSION
        self.server = NatsServer(store=self._folder / "nats")
        await asyncio.to_thread(self.server.start)
        await self._meet(self.server.url)
        await self.postman.listen_to_calls()
        limit_s = self.options.ready_limit_s
        give_up = time.monotonic() + limit_s
        program = await self._start()
        self.programs = [program]
        stream = durable_stream(self.endpoint)
        try:
            await program.beside(
                self.postman.wait(
                    lambda: next((call for call in self.postman.calls if stream in call), None),
                    limit_s=_ASK_SHARE * limit_s,
                    what="the program asked nothing about its stream",
                )
            )
            self.startup.asked = True
        except Failed:
            self.startup.asked = False  # the case `program.start` tells
        self.startup.was_ready = program.ready is not None
        await ensure_streams(self.nc, parse_spec(self._spec()))
        ready = await program.wait_ready(give_up - time.monotonic())
        if not ready.grpc:
            return
        await self._call(ready.grpc)
        self.info = await self.caller.describe()

    def _spec(self) -> dict[str, Any]:
        return {
            "endpoint": self.endpoint,
            "inputs": [],
            "outputs": [{"name": "any", "type": "FP64"}],
            "models": {self.model: {"role": "champion"}},
            "policy": {"deadline": "10s"},
        }

    async def _open_live(self) -> None:
        nc = await connect(self.options.nats, name="rendezvous conformance", timeout_s=_CONNECT_LIMIT_S)
        try:
            await self._find_live(nc)
        finally:
            await nc.close()
        await self._meet(self.options.nats)

    async def _find_live(self, nc: Connection) -> None:
        prefix = f"{self.endpoint}.{self.model}."
        models = await _entries(nc, MODELS_BUCKET, prefix)
        found = [_parsed(text) for text in models.values()]
        wanted = [info for info in found if self.version in ("", info.version)]
        if len(wanted) != 1:
            raise SiteError(await self._which(nc, [info.version for info in wanted]))
        self.info = wanted[0]
        self.version = self.info.version
        replicas = [json.loads(text) for text in (await _entries(nc, REPLICAS_BUCKET, prefix)).values()]
        addresses = [one.get("grpc") for one in replicas if one.get("version") == self.version and one.get("grpc")]
        if addresses:
            await self._call(addresses[0])

    async def _which(self, nc: Connection, versions: list[str]) -> str:
        target = self.options.target
        if versions:
            choice = ", ".join(f"{target}:{version}" for version in sorted(versions))
            return f"{target} is registered in {len(versions)} versions: name one, {choice}"
        models = await _entries(nc, MODELS_BUCKET, "")
        known = sorted("{}/{}:{}".format(*key.split(".")[:2], _parsed(text).version) for key, text in models.items())
        there = f"registered are {', '.join(known)}" if known else "no model is registered there"
        return f"{target} is not registered at {self.options.nats}; {there}"

    async def _meet(self, url: str) -> None:
        nc = await connect(url, name="rendezvous conformance", timeout_s=_CONNECT_LIMIT_S)
        self._postman = Postman(nc, endpoint=self.endpoint, model=self.model, version=self.version)
        await self._postman.open()

    async def _call(self, address: str) -> None:
        if self._caller is not None:
            await self._caller.close()
        self._caller = Caller(address) if address else None

    async def _start(self) -> Program:
        self._started += 1
        program = Program(
            self.options.run,
            environment=self._environment(),
            log=self._folder / f"program-{self._started}.log",
            says_ready=not self.options.target.address,
        )
        await program.start()
        return program

    def _environment(self) -> dict[str, str]:
        host, _, port = self.options.target.address.rpartition(":")
        variables = {
            "RENDEZVOUS_ENDPOINT": self.endpoint or "conformance",
            "RENDEZVOUS_MODEL": self.model,
            "RENDEZVOUS_VERSION": self.version,
            "RENDEZVOUS_NATS": self.server.url if self.server is not None else self.options.nats,
            "RENDEZVOUS_GRPC_HOST": host or "127.0.0.1",
            "RENDEZVOUS_GRPC_PORT": port or "0",
            "RENDEZVOUS_ACK_WAIT": f"{ACK_WAIT_S * 1000:.0f}ms",
            "RENDEZVOUS_SCORING_LIMIT": f"{self.options.scoring_limit_s * 1000:.0f}ms",
        }
        return {name: value for name, value in variables.items() if value}


def _parsed(text: bytes) -> v1.ModelInfo:
    return json_format.Parse(text, v1.ModelInfo(), ignore_unknown_fields=True)


async def _entries(nc: Connection, bucket: str, prefix: str) -> dict[str, bytes]:
    try:
        store = await nc.jetstream().key_value(bucket)
        keys = [key for key in await store.keys() if key.startswith(prefix)]
    except (BucketNotFoundError, NoKeysError):
        return {}
    return {key: (await store.get(key)).value or b"" for key in keys}
