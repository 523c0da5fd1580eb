"""The project file `rendezvous.yaml`: what `rendezvous up` starts on one machine.

```yaml
endpoints: [credit.yaml]              # endpoint specifications, paths from this file
models:
  boosted:
    run: rendezvous-model serve models:boosted --endpoint credit --name boosted
    replicas: 2                       # processes
    env: {OMP_NUM_THREADS: "1"}
ports: {rest: 8000, grpc: 8001, nats: 4222, metrics: 8002}
router: {workers: 1}
durability: flushed                   # or: relaxed
archive: archive                      # default: .rendezvous/archive; or a URL, s3://bucket/prefix
archive_keep: 90d                     # default: for ever
archive_keep_bytes: 50GB              # of each endpoint; default: everything
```
"""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from msgspec import Meta, Struct
from rendezvous._problems import Problems
from rendezvous._reading import read_struct
from rendezvous.spec import EndpointSpec, SpecError, parse_spec

from rendezvous_router.archive.upkeep import upkeep_options

__all__ = [
    "STATE_FOLDER",
    "ModelRun",
    "Ports",
    "Project",
    "ProjectError",
    "RouterRun",
    "find_command",
    "load_project",
    "load_spec",
    "parse_project",
]

STATE_FOLDER = ".rendezvous"
"""Folder beside the project file with streams, logs, archive and addresses."""

_LARGEST_PORT = 65535


class ProjectError(ValueError):
    """A project or specification file cannot be used; the message names the file, the path in it and the fault."""


class ModelRun(Struct, frozen=True):
    """How one model is run."""

    run: Annotated[str | list[str], Meta(description="Command line: text, split as a shell does, or a list.")]
    replicas: Annotated[int, Meta(description="Processes; they share the model's requests.")] = 1
    env: Annotated[dict[str, str], Meta(description="Added to the environment.")] = {}

    @property
    def arguments(self) -> list[str]:
        """Program and arguments."""
        return shlex.split(self.run) if isinstance(self.run, str) else list(self.run)


class Ports(Struct, frozen=True):
    """Where the project listens, on loopback."""

    rest: Annotated[int | None, Meta(description="Port of the REST front door; default: 8000, or a free one.")] = None
    grpc: Annotated[int, Meta(description="Port of the gRPC front door; 0: a free one.")] = 8001
    nats: Annotated[int | None, Meta(description="Port of nats-server; default: 4222, or a free one.")] = None
    metrics: Annotated[
        int | None, Meta(description="Port of /metrics, /healthz and /readyz; default: 8002, or a free one.")
    ] = None


class RouterRun(Struct, frozen=True):
    """How the router is run."""

    workers: Annotated[int, Meta(description="Processes that share the gRPC port.")] = 1


class Project(Struct, frozen=True):
    """What `rendezvous up` starts."""

    endpoints: Annotated[
        list[str], Meta(description="Files with endpoint specifications, from the file's folder.")
    ] = []
    models: Annotated[dict[str, ModelRun], Meta(description="Models to run, by name.")] = {}
    ports: Annotated[Ports, Meta(description="Ports.")] = Ports()
    router: Annotated[RouterRun, Meta(description="The router.")] = RouterRun()
    host: Annotated[
        str, Meta(description="Address of the front doors; any but loopback needs keys and `certs`, or --insecure.")
    ] = "127.0.0.1"
    certs: Annotated[
        str | None,
        Meta(description="Folder of certificates (`rendezvous certs`), from the file's folder; none: no TLS."),
    ] = None
    tenant: Annotated[
        str, Meta(description="Tenant whose endpoints, models and archive these are, where there are tenants.")
    ] = "default"
    durability: Annotated[
        Literal["flushed", "relaxed"],
        Meta(description="flushed: on disk before acknowledged; relaxed: faster, a power cut loses what is young."),
    ] = "flushed"
    archive: Annotated[
        str, Meta(description="Archive: a folder, from the file's folder, or a URL (s3://bucket/prefix).")
    ] = f"{STATE_FOLDER}/archive"
    archive_keep: Annotated[
        str, Meta(description="How long days of the archive are kept, as 90d; empty: for ever.")
    ] = ""
    archive_keep_bytes: Annotated[
        str, Meta(description="How much of each endpoint's archive is kept, as 50GB; empty: everything.")
    ] = ""


def parse_project(data: object) -> Project:
    """Reads and checks a project document.

    Raises:
        SpecError: something is wrong; `problems` has every path and message.
    """
    problems = Problems()
    project = read_struct(Project, {} if data is None else data, "", problems)
    problems.check()
    _check(project, problems)
    problems.check()
    return project  # type: ignore[no-any-return] # read_struct gives the class that it was asked for


def load_project(path: Path) -> Project:
    """Reads a project file.

    Raises:
        ProjectError: the file is not there, is no YAML, or is not a valid project.
    """
    try:
        return parse_project(_load_yaml(path))
    except SpecError as error:
        raise ProjectError(_in_file(path, error)) from error


def load_spec(path: Path) -> EndpointSpec:
    """Reads a file (YAML or JSON) with an endpoint specification.

    Raises:
        ProjectError: the file is not there, is no YAML, or is not a valid specification.
    """
    document = _load_yaml(path)
    if not isinstance(document, dict):
        raise ProjectError(f"{path}: expected an endpoint specification, found {type(document).__name__}")
    try:
        return parse_spec(document)
    except SpecError as error:
        raise ProjectError(_in_file(path, error)) from error


def find_command(arguments: list[str]) -> list[str]:
    """Returns a command line with its program found: beside this Python first, then on PATH.

    Raises:
        ProjectError: there is no such program.
    """
    program = arguments[0]
    if program in ("python", "python3"):
        return [sys.executable, *arguments[1:]]
    beside = Path(sys.executable).parent / program  # a program given by its whole path stands for itself
    found = str(beside) if beside.is_file() and os.access(beside, os.X_OK) else shutil.which(program)
    if found is None:
        raise ProjectError(f"program {program!r} is neither beside {sys.executable} nor on PATH: install it")
    return [found, *arguments[1:]]


def _load_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise ProjectError(f"{path}{where}: is not YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise ProjectError(f"{path}: is nested too deeply") from error
    except ValueError as error:  # a date that is none, a number of thousands of digits
        raise ProjectError(f"{path}: has a value that cannot be read: {error}; put text in quotes") from error


def _in_file(path: Path, error: SpecError) -> str:
    lines = [f"{where or 'document'}: {what}" for where, what in error.problems]
    return "\n".join(f"{path}: {line}" for line in lines)


def _check(project: Project, problems: Problems) -> None:
    for name, port in (
        ("rest", project.ports.rest or 0),
        ("grpc", project.ports.grpc),
        ("nats", project.ports.nats or 0),
        ("metrics", project.ports.metrics or 0),
    ):
        if not 0 <= port <= _LARGEST_PORT:
            problems.add(f"ports.{name}", f"{port}: must lie between 0 and {_LARGEST_PORT}")
    for name in ("archive_keep", "archive_keep_bytes"):
        try:
            upkeep_options(**{name.removeprefix("archive_"): getattr(project, name)})
        except ValueError as error:
            problems.add(name, str(error))
    if project.router.workers < 1:
        problems.add("router.workers", f"{project.router.workers}: at least 1")
    for name, model in project.models.items():
        _check_model(f"models.{name}", model, problems)


def _check_model(path: str, model: ModelRun, problems: Problems) -> None:
    if model.replicas < 1:
        problems.add(f"{path}.replicas", f"{model.replicas}: at least 1")
    try:
        arguments = model.arguments
    except ValueError as error:
        problems.add(f"{path}.run", f"cannot be split into words: {error}")
        return
    if not arguments or not arguments[0]:
        problems.add(f"{path}.run", "is empty: give the command that serves the model")
