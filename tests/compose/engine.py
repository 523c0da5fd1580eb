"""A Docker engine for the tests: the one that is reachable, or a private one that ends with them."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import docker
from docker.errors import DockerException

from toolchains.building import cache_folder
from toolchains.containers import COMPOSE, CONTAINERS
from toolchains.languages import ROOT
from toolchains.tools import can_install, find_gaps, how_to_get, install

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
KEPT_BUILD_STEPS_BYTES = 5_000_000_000
"""What is kept of build steps between runs."""


class EngineError(RuntimeError):
    """There is no engine; the message says why.

    Args:
        reason: for people.
        could_run: whether this machine is one on which it should have worked.
    """

    def __init__(self, reason: str, *, could_run: bool) -> None:
        super().__init__(reason)
        self.could_run = could_run


class Engine:
    """An engine: `address` for DOCKER_HOST, `client` for questions."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = docker.DockerClient(base_url=address, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        """For programs that are to use it."""
        return {**os.environ, "DOCKER_HOST": self.address}

    def stop(self) -> None:
        """Lets go of it."""
        self.client.close()


class PrivateEngine(Engine):
    """A dockerd of our own: no bridge, no rules in the firewall; images are kept between runs in the cache."""

    def __init__(self) -> None:
        self._data = cache_folder().parent / "docker"
        self._data.mkdir(parents=True, exist_ok=True)
        self._lock = (self._data.parent / "docker.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # one engine at a time has these images
        self._run = Path(tempfile.mkdtemp(prefix="rendezvous-engine-"))
        self._process = self._start()
        try:
            self._wait()
            super().__init__(f"unix://{self._run / 'docker.sock'}")
            self._clear()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [
            *("dockerd", "--data-root", str(self._data), "--exec-root", str(self._run / "exec")),
            *("-H", f"unix://{self._run / 'docker.sock'}", "-p", str(self._run / "dockerd.pid")),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"),
        ]
        with self._log.open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    @property
    def _log(self) -> Path:
        return self._run / "dockerd.log"

    def _wait(self) -> None:
        give_up = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < give_up:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self._run / "docker.sock")) == 0:
                    return
            time.sleep(0.1)
        said = "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])
        raise EngineError(f"dockerd did not start; the end of its log:\n{said}", could_run=True)

    def _clear(self) -> None:
        """Removes what runs or is left; images stay."""
        for container in self.client.containers.list(all=True):
            container.remove(force=True, v=True)
        self.client.networks.prune()
        for volume in self.client.volumes.list():
            volume.remove(force=True)

    def stop(self) -> None:
        """Ends the engine with everything in it, and unmounts what it mounted."""
        if hasattr(self, "client"):
            with contextlib.suppress(DockerException, OSError):
                self._clear()
                self.client.images.prune()
                self.client.api.prune_builds(keep_storage=KEPT_BUILD_STEPS_BYTES)
            super().stop()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for mount in reversed(self._mounts()):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        shutil.rmtree(self._run, ignore_errors=True)
        self._lock.close()

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in lines]
        return [point for point in points if f"{point}/".startswith((f"{self._run}/", f"{self._data}/"))]


def open_engine() -> Engine:
    """Returns an engine; `stop` it afterwards.

    Raises:
        EngineError: none is reachable, and none can be started here.
    """
    for address in filter(None, (os.environ.get("DOCKER_HOST"), "unix:///var/run/docker.sock")):
        with contextlib.suppress(DockerException, OSError):
            engine = Engine(address)
            engine.client.ping()
            return engine
    _prepare()
    return PrivateEngine()


def _prepare() -> None:
    if os.geteuid() != 0:
        raise EngineError("no Docker engine is reachable, and only root can start a private one", could_run=False)
    if gaps := find_gaps(CONTAINERS):
        if not can_install():
            raise EngineError(f"{'; '.join(gaps)}. {how_to_get(CONTAINERS)}", could_run=False)
        if problem := install(CONTAINERS.packages):
            raise EngineError(f"installing {' '.join(CONTAINERS.packages)} failed: {problem}", could_run=True)


def find_compose() -> str:
    """Returns the program Docker Compose; fetches it where it is missing.

    Raises:
        EngineError: it cannot be had.
    """
    if not COMPOSE.exists():
        done = subprocess.run(
            list(CONTAINERS.build), cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            raise EngineError(f"Docker Compose could not be fetched: {done.stderr[-500:]}", could_run=True)
    return str(COMPOSE)
