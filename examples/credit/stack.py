"""Runs the credit project by `rendezvous up`, on free ports and in a folder of its own, and ends it without a trace."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import yaml
from rendezvous_router.nats_server import find_free_port
from rendezvous_router.project import STATE_FOLDER, load_spec

from examples.credit.elsewhere import HERE, read_project

ROOT = HERE.parents[1]
ENDPOINT = "credit"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0
_POLL_S = 0.1


class StackError(RuntimeError):
    """The project did not start or did not end; the message says what happened."""


class Stack:
    """nats-server, router, archive, enricher and the four models; a context manager.

    The project file is `rendezvous.yaml` of this folder with other ports, so that a demo does not meet a project
    that is already up.
    """

    def __init__(self) -> None:
        self.address = ""
        self.nats_url = ""
        self.archive = ""
        self.doors: dict[str, str] = {}
        self.project = read_project()
        parent = ROOT / ".rendezvous"
        parent.mkdir(exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix="demo-", dir=parent, ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "up.log"
        self._said = Path(self._folder.name) / "up.json"
        self._up: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """The project's folder; gone when everything is stopped."""
        return Path(self._folder.name)

    @property
    def models(self) -> list[str]:
        """Names of the models that are run; enrichers are none."""
        enrichers = {name for file in self.project["endpoints"] for name in load_spec(HERE / file).enrichers}
        return [name for name in self.project["models"] if name not in enrichers]

    def __enter__(self) -> Self:
        command = [self.script("rendezvous"), "up", "--json", "--project", str(self._write_project())]
        with self._log.open("wb") as log, self._said.open("wb") as said:
            self._up = subprocess.Popen(
                command, stdout=said, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, start_new_session=True
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            left = self.stop()
        finally:
            self._folder.cleanup()
        if left and kind is None:
            raise StackError(f"still running after the end: {', '.join(left)}")

    @staticmethod
    def script(name: str) -> str:
        """Returns the path of a command that is installed beside this Python."""
        return str(Path(sys.executable).with_name(name))

    def wait_until_ready(self) -> dict[str, int]:
        """Waits until `rendezvous up` says that everything is ready, and takes the addresses over.

        Afterwards `doors` has the address of each model's own gRPC service.

        Returns:
            The process id of each model.

        Raises:
            StackError: `rendezvous up` ended, a model is not ready, or it took more than 60 s.
        """
        end = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < end:
            said = self._read_said()
            if said is not None:
                self.address, self.nats_url, self.archive = said["grpc"], said["nats"], said["archive"]
                unready = [model["name"] for model in said["models"] if not model["ready"]]
                if unready:
                    raise StackError(
                        f"not ready: {', '.join(unready)}; what they said last:\n{self._last_words(unready)}"
                    )
                self.doors = {model["name"]: model["replicas"][0]["grpc"] for model in said["models"]}
                return {model["name"]: model["replicas"][0]["pid"] for model in said["models"]}
            if self._up is None or self._up.poll() is not None:
                raise StackError(f"`rendezvous up` ended; the end of its log:\n{self._last_lines()}")
            time.sleep(_POLL_S)
        raise StackError(f"not ready within {_START_TIMEOUT_S:g} s; the end of the log:\n{self._last_lines()}")

    def _read_said(self) -> dict[str, Any] | None:
        """Returns what `rendezvous up --json` printed; None while it is not all there."""
        try:
            said: dict[str, Any] = json.loads(self._said.read_text())
        except ValueError:
            return None
        return said

    def stop(self) -> list[str]:
        """Ends everything; returns what is still running, which should be nothing."""
        if self._up is None:
            return []
        family = self._family()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        with suppress(ProcessLookupError):
            os.kill(self._up.pid, signal.SIGTERM)
        try:
            self._up.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._up.kill()
            self._up.wait()
        _, alive = psutil.wait_procs(family, timeout=5.0)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._up = None
        return [f"{process.pid} ({process.name()})" for process in alive if process.is_running()]

    def _family(self) -> list[psutil.Process]:
        assert self._up is not None
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._up.pid).children(recursive=True)
        return []

    def _write_project(self) -> Path:
        project = dict(self.project)
        project["endpoints"] = [str(HERE / name) for name in project["endpoints"]]
        project["ports"] = {"grpc": 0, "nats": find_free_port()}
        for model in project["models"].values():
            words = [str(HERE / word) if (HERE / word).is_file() else word for word in shlex.split(model["run"])]
            model["run"] = words
            model["env"] = {**model.get("env", {}), "PYTHONPATH": str(ROOT)}
        path = Path(self._folder.name) / "rendezvous.yaml"
        path.write_text(yaml.safe_dump(project))
        return path

    def _last_words(self, models: list[str]) -> str:
        logs = Path(self._folder.name, STATE_FOLDER, "logs")
        ends = {log: log.read_text(errors="replace").splitlines()[-3:] for log in sorted(logs.glob("model-*.log"))}
        said = {
            log: lines for log, lines in ends.items() if any(log.stem.startswith(f"model-{each}") for each in models)
        }
        return "\n".join(line for log, lines in said.items() for line in (f"{log.stem}:", *lines))

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])
