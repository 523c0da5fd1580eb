"""The systems that are measured, each a `with` block that starts it and ends it again."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rendezvous.spec import EndpointSpec, parse_spec
from rendezvous_proto.frames import type_name
from rendezvous_router.nats_server import NatsServer, find_free_port
from rendezvous_router.spec_store import SpecStore
from rendezvous_sdk.nats_connection import connect

from bench.doors import DOORS
from bench.load import HTTP
from bench.payloads import make_frame, make_request
from bench.processes import ROOT, Child, python_module, running, script

ENDPOINT = "bench"
CREDIT_MODELS = ("examples.credit.boosted:Boosted", "examples.credit.logit:Logit", "examples.credit.forest:Forest")
SCORECARD = "examples.credit.scorecard:score"
LINEAR = "bench.models:Linear"


@dataclass(frozen=True, kw_only=True)
class System:
    """A running system, ready for load."""

    address: str
    """Where to send requests."""
    payloads: Sequence[Path]
    """Files of what to send."""
    method: str = "/rendezvous.v1.Score/Score"
    parse: bool = True
    """Whether it answers with ScoreReply messages."""
    models: Mapping[str, Child] = field(default_factory=dict)
    """Processes of the models, by name."""
    others: Sequence[Child] = ()
    """All other processes of the system that use the processor."""
    server: NatsServer | None = None
    """Its nats-server."""


class Workshop:
    """Where one run of the bench keeps its files.

    Args:
        folder: on the disk that is to be measured; not a memory file system, or flushing costs nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self, name: str) -> Path:
        """Returns the log file of the process *name*."""
        return self.folder / "logs" / f"{name}.log"

    def payload(self, name: str, content: bytes) -> Path:
        """Writes a payload and returns its file."""
        path = self.folder / f"{name}.bin"
        path.write_bytes(content)
        return path

    def request(self, kind: str, rows: int) -> Path:
        """Writes the request of a kind with so many rows and returns its file."""
        return self.payload(f"{kind}-{rows}", make_request(kind, rows, ENDPOINT))


@contextmanager
def open_workshop() -> Iterator[Workshop]:
    """A workshop in the checkout, removed afterwards."""
    parent = ROOT / ".rendezvous"
    parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as folder:
        yield Workshop(Path(folder))


def grpc_address(ready_line: str) -> str:
    """Returns HOST:PORT from a line that ends in `grpc HOST:PORT`."""
    return ready_line.rpartition("grpc ")[2].partition(",")[0].strip()


@contextmanager
def echo(workshop: Workshop, kind: str, rows: int) -> Iterator[System]:
    """(a) The bare `grpc.aio` echo server."""
    command = python_module("bench.echo", kind, str(rows))
    with running(command, log=workshop.log("echo")) as child:
        address = grpc_address(child.wait_for_line("ready:"))
        yield System(address=address, payloads=[workshop.request(kind, rows)], others=[child])


@contextmanager
def direct(workshop: Workshop, kind: str, rows: int) -> Iterator[System]:
    """(b) The champion called directly: the same process that serves it here, over gRPC and without a postbox."""
    path = LINEAR if kind == "linear" else CREDIT_MODELS[0]
    command = [script("rendezvous-model"), "serve", path, "--endpoint", ENDPOINT, "--name", "m1", "--no-postbox"]
    with running(command, log=workshop.log("direct")) as child:
        address = grpc_address(child.wait_for_line("ready:"))
        yield System(address=address, payloads=[workshop.request(kind, rows)], models={"m1": child})


@contextmanager
def fanout(workshop: Workshop, rows: int) -> Iterator[System]:
    """(c) A plain asyncio fan-out over gRPC to the three scikit-learn models; waits for all, persists nothing."""
    with ExitStack() as stack:
        models = {
            path: stack.enter_context(
                running(python_module("bench.plain", "model", path), log=workshop.log(f"plain-{place}"))
            )
            for place, path in enumerate(CREDIT_MODELS)
        }
        addresses = [grpc_address(child.wait_for_line("ready:")) for child in models.values()]
        command = python_module("bench.plain", "fanout", *addresses)
        front = stack.enter_context(running(command, log=workshop.log("fanout")))
        yield System(
            address=grpc_address(front.wait_for_line("ready:")),
            payloads=[workshop.request("credit", rows)],
            models=models,
            others=[front],
        )


@contextmanager
def rendezvous(
    workshop: Workshop,
    kind: str,
    rows: int,
    *,
    models: int = 3,
    relaxed: bool = False,
    extras: bool = True,
    archived: bool = True,
    policy: Mapping[str, Any] | None = None,
    traced: float | None = None,
    door: str | None = None,
) -> Iterator[System]:
    """(d) This system: router, nats-server, models, and with *extras* a canary and the archive.

    Args:
        workshop: where to keep files.
        kind: `linear` or `credit`.
        rows: rows in a request.
        models: how many models besides the canary: 1, 3 or 5.
        relaxed: nats-server does not flush before each acknowledgement.
        extras: start a canary and the archive too.
        archived: with *extras*, start the archive.
        policy: None takes the champion's score whenever it comes.
        traced: share of the requests whose spans the router and the models send to a collector; None: none is set up.
        door: through which is asked, of `bench.doors`; None: gRPC.
    """
    paths = _model_paths(kind, models, canary=extras)
    server = NatsServer(store=Path(tempfile.mkdtemp(prefix="nats-", dir=workshop.folder)), relaxed=relaxed)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        asyncio.run(_apply(make_spec(kind, list(paths), policy), server.url))
        port = find_free_port()
        settings = stack.enter_context(_telemetry(workshop, traced))
        command = [script("rendezvous-router"), "--nats", server.url, "--grpc-port", str(port), "--metrics-port", "0"]
        command += ["--rest-port", "0", "--journal", str(workshop.folder / "journal")]
        router = stack.enter_context(running(command, log=workshop.log("router"), environment=settings))
        ready = router.wait_for_line("ready:")
        address = grpc_address(ready)
        children = {
            name: stack.enter_context(
                running(_serve(path, name, server.url), log=workshop.log(name), environment=settings)
            )
            for name, path in paths.items()
        }
        others = [router]
        if extras and archived:
            command = archive_command(server.url, workshop.folder / "archive")
            others.append(stack.enter_context(running(command, log=workshop.log("archive"))))
        for child in (*children.values(), *others):
            child.wait_for_line("ready:")
        system = System(
            address=address,
            payloads=[workshop.request(kind, rows)],
            models=children,
            others=others,
            server=server,
        )
        yield system if door is None else _by_door(system, workshop, door, rows, ready)


def _by_door(system: System, workshop: Workshop, name: str, rows: int, ready: str) -> System:
    """Returns the same system asked through another door."""
    door = DOORS[name]
    address = ready.partition("rest http://")[2].partition(",")[0] if door.method == HTTP else system.address
    payload = workshop.payload(f"{name}-{rows}", door.make_request(rows, ENDPOINT))
    return replace(system, address=address, method=door.method, payloads=[payload], parse=False)


@contextmanager
def _telemetry(workshop: Workshop, traced: float | None) -> Iterator[Mapping[str, str]]:
    """Variables that make processes send a share of their traces to a collector, which runs meanwhile."""
    if traced is None:
        yield {}
        return
    with running(python_module("bench.sink"), log=workshop.log("sink")) as sink:
        yield {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{grpc_address(sink.wait_for_line('ready:'))}",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(traced),
        }


def archive_command(nats_url: str, folder: Path) -> list[str]:
    """Returns the command that archives the endpoint's streams into *folder*."""
    return python_module(
        "rendezvous_router.cli", "archive", "--endpoint", ENDPOINT, "--nats", nats_url, "--archive", str(folder)
    )


def make_spec(kind: str, names: Sequence[str], policy: Mapping[str, Any] | None = None) -> EndpointSpec:
    """Returns the specification of the measured endpoint.

    Deadlines are far away, so that what is measured is work and not patience; the champion is always waited for.
    """
    types = {"score": "FP64"} if kind == "linear" else {"default_probability": "FP64", "label": "STRING"}
    roles = {name: {"role": "canary" if name == "canary" else "challenger"} for name in names}
    roles["m1"] = {"role": "champion"}
    return parse_spec(
        {
            "endpoint": ENDPOINT,
            "inputs": [{"name": column.name, "type": type_name(column.type)} for column in make_frame(kind, 1).columns],
            "outputs": [{"name": name, "type": column_type} for name, column_type in types.items()],
            "models": roles,
            "policy": dict(
                policy or {"deadline": "10s", "steps": [{"take": "best", "of": ["m1"]}], "otherwise": "error"}
            ),
        }
    )


def _model_paths(kind: str, count: int, *, canary: bool) -> dict[str, str]:
    if kind == "linear":
        paths = {f"m{number}": LINEAR for number in range(1, count + 1)}
        return paths | ({"canary": LINEAR} if canary else {})
    if count > len(CREDIT_MODELS):
        raise ValueError(f"models is {count}: the credit example has {len(CREDIT_MODELS)} besides its canary")
    paths = {f"m{number}": path for number, path in enumerate(CREDIT_MODELS[:count], start=1)}
    return paths | ({"canary": SCORECARD} if canary else {})


def _serve(path: str, name: str, nats_url: str) -> list[str]:
    return [
        script("rendezvous-model"), "serve", path, "--endpoint", ENDPOINT, "--name", name, "--nats", nats_url,
    ]  # fmt: skip


async def _apply(spec: EndpointSpec, nats_url: str) -> None:
    client = await connect(nats_url, name="bench")
    try:
        await SpecStore(client).put(spec)
    finally:
        await client.close()
