"""The stack of compose.yaml in containers, under a name and on ports of its own."""

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from docker.errors import APIError
from docker.models.containers import Container
from rendezvous_router.nats_server import find_free_port

from tests.compose.engine import Engine
from tests.compose.images import FILES, Images
from toolchains.languages import ROOT

MODELS = ("boosted", "logit", "forest", "scorecard")
UP_TIMEOUT_S = 180.0
READY_TIMEOUT_S = 90.0
_POLL_S = 0.2
_PORTS = ("ROUTER_PORT", "METRICS_PORT", "JAEGER_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")


class ComposeStack:
    """A context manager: up with it, and down with everything of it, volumes too.

    Args:
        engine: where it runs.
        compose: the program Docker Compose.
        images: built before.
        name: Compose's project.
        files: Compose files, relative to `compose/`.
        without: services that are not started.
        variables: of the Compose files.
    """

    def __init__(
        self,
        engine: Engine,
        compose: str,
        images: Images,
        *,
        name: str,
        files: Sequence[str],
        without: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self.ports = {variable: find_free_port() for variable in _PORTS}
        paths = [*(FILES / file for file in files), *images.files]
        self._command = [compose, "--project-name", name, *(word for path in paths for word in ("--file", str(path)))]
        self._environment = {
            **engine.environment,
            **images.environment,
            **{variable: str(port) for variable, port in self.ports.items()},
            **(variables or {}),
        }
        self._without = without

    @property
    def address(self) -> str:
        """The published gRPC port."""
        return f"127.0.0.1:{self.ports['ROUTER_PORT']}"

    def __enter__(self) -> Self:
        try:
            left_out = [word for service in self._without for word in ("--scale", f"{service}=0")]
            self.compose("up", "--detach", "--no-build", "--quiet-pull", *left_out)
            checked = self._services()
            self.wait(lambda: all(map(self.is_healthy, checked)), f"{checked} are healthy")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.logs())  # pytest shows it with the failure
        self.compose("down", "--volumes", "--timeout", "1", "--remove-orphans", check=False)

    def compose(self, *words: str, check: bool = True) -> str:
        """Runs Docker Compose; returns what it printed.

        Raises:
            AssertionError: it failed; with the end of every container's log.
        """
        done = subprocess.run(
            [*self._command, *words],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=UP_TIMEOUT_S,
            check=False,
        )
        if check and done.returncode:
            said = "\n".join(done.stderr.splitlines()[-15:])
            raise AssertionError(f"docker compose {' '.join(words)}: status {done.returncode}\n{said}\n{self.logs()}")
        return done.stdout

    def _services(self) -> list[str]:
        """Returns the services that stay up and can be asked how they are."""
        return [name for name in (*MODELS, "history", "router", "nats", "balancer", "archive") if self.containers(name)]

    def logs(self) -> str:
        """Returns the end of what each container said."""
        return self.compose("logs", "--no-color", "--tail", "8", check=False)

    def containers(self, service: str = "") -> list[Container]:
        """Returns a service's containers in the order of their numbers, ended ones too; without a name all."""
        labels = [f"com.docker.compose.project={self.name}"]
        if service:
            labels.append(f"com.docker.compose.service={service}")
        found: list[Container] = self.engine.client.containers.list(all=True, filters={"label": labels})
        return sorted(found, key=lambda each: each.name or "")

    def container(self, service: str, number: int = 1) -> Container:
        """Returns one container of a service."""
        return self.containers(service)[number - 1]

    def is_healthy(self, service: str) -> bool:
        """Whether each container of a service says that it is well."""
        found = self.containers(service)
        return bool(found) and all(each.attrs["State"].get("Health", {}).get("Status") == "healthy" for each in found)

    def wait(self, holds: Callable[[], bool], what: str, *, within_s: float = READY_TIMEOUT_S) -> None:
        """Waits until something holds.

        Raises:
            AssertionError: it did not in time; with the end of every container's log.
        """
        give_up = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > give_up:
                states = [(each.name, each.status) for each in self.containers()]
                raise AssertionError(f"not within {within_s:g} s: {what}\n{states}\n{self.logs()}")
            time.sleep(_POLL_S)

    def run(self, service: str, *command: str) -> str:
        """Runs a command in a running container; returns its standard output.

        Raises:
            AssertionError: it failed.
        """
        status, (out, err) = self.container(service).exec_run(list(command), demux=True)
        assert status == 0, f"{' '.join(command)} in {service}: status {status}\n{(err or b'').decode()}"
        return (out or b"").decode()

    def verify_archive(self) -> dict[str, Any]:
        """Waits until the archive has everything, and returns the archive's report."""
        report: dict[str, Any] = {}

        def is_archived() -> bool:
            with contextlib.suppress(AssertionError, APIError):
                said = self.run(
                    "archive", "rendezvous", "archive", "verify", "credit", "--archive", "/archive", "--json"
                )
                report.update(json.loads(said)[0])
            return report.get("pending") == 0

        self.wait(is_archived, "the archive has every input")
        return report

    def archived_ids(self) -> set[str]:
        """Returns the ids of all archived requests."""
        code = (
            "import pyarrow.dataset as d\n"
            "t = d.dataset('/archive/tenant=default/endpoint=credit/kind=inputs', format='parquet')\n"
            "print(*t.to_table(['request_id'])['request_id'].to_pylist())"
        )
        return set(self.run("archive", "python", "-c", code).split())


def read_json(url: str) -> Any:
    """Returns the document at an address of HTTP."""
    with urllib.request.urlopen(url, timeout=10.0) as page:
        return json.load(page)


def list_files() -> list[Path]:
    """Returns the Compose files that are ours."""
    return sorted(FILES.glob("compose*.yaml"))
