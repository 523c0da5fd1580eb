"""Images for the tests: the official ones where a registry is reachable, else stand-ins made on this machine."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from docker.errors import APIError, DockerException, ImageNotFound
from rendezvous_router.nats_server import find_binary

from tests.compose.engine import Engine, EngineError
from toolchains.languages import ROOT
from toolchains.observability import JAEGER, PROMETHEUS, find_program

BASE = "debian:bookworm-slim"
DEBIAN = "bookworm"
FILES = ROOT / "compose"
HERE = Path(__file__).parent
STAND_INS = {
    "NATS_IMAGE": "rendezvous-test/nats",
    "OTELCOL_IMAGE": "rendezvous-test/otel-collector",
    "JAEGER_IMAGE": "rendezvous-test/jaeger",
    "PROMETHEUS_IMAGE": "rendezvous-test/prometheus",
    "HAPROXY_IMAGE": "rendezvous-test/haproxy",
}
"""Variables of compose.yaml, and what they are set to."""
BUILT = ("router", "train", "train-logit", "train-forest")
"""One service of each image that is ours; the others use the same images."""
BUILD_TIMEOUT_S = 1800.0
# As the official slim image has it: no caches, nothing to read.
_SLIM = 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache ""; Acquire::Languages "none";\n'
_LEFT_OUT = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)


class Images:
    """Which files and variables Compose is to be called with; building what they name.

    Args:
        engine: where the images are kept.
        compose: the program Docker Compose.
    """

    def __init__(self, engine: Engine, compose: str) -> None:
        self._engine = engine
        self._compose = compose
        self.has_registry = self._can_pull(BASE)
        self.files: list[Path] = [] if self.has_registry else [HERE / "offline.yaml"]
        self.environment: dict[str, str] = {"RENDEZVOUS_TAG": "test"}
        if not self.has_registry:
            self.environment |= STAND_INS

    def build(self) -> None:
        """Builds our own images, and the stand-ins where no registry is reachable.

        Raises:
            EngineError: something could not be built; the message ends with what was said.
        """
        if not self.has_registry:
            self._import_base()
            self._build_stand_ins()
            self._prepare_builds()
        files = [FILES / "compose.yaml", *self.files]
        self._run([self._compose, *_as_options(files), "build", "--quiet", *BUILT], self.environment)

    def _can_pull(self, name: str) -> bool:
        try:
            self._engine.client.images.pull(name)
        except (ImageNotFound, APIError):
            return False
        return True

    def _import_base(self) -> None:
        """Makes the base image of Debian's packages, once."""
        with contextlib.suppress(ImageNotFound):
            self._engine.client.images.get(BASE)
            return
        with tempfile.TemporaryDirectory(prefix="rendezvous-base-") as folder:
            root = Path(folder) / "root"
            self._run(["debootstrap", "--variant=minbase", DEBIAN, str(root)])
            for path in _LEFT_OUT:
                shutil.rmtree(root / path, ignore_errors=True)
                (root / path).mkdir(parents=True)
            (root / "etc/apt/apt.conf.d/90slim").write_text(_SLIM)
            archive = Path(folder) / "root.tar"
            self._run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(archive), "."])
            name, tag = BASE.split(":")
            self._engine.client.api.import_image_from_file(str(archive), repository=name, tag=tag)

    def _build_stand_ins(self) -> None:
        for observer in (JAEGER, PROMETHEUS):
            _prepare(observer)
        programs = {
            "nats-server": Path(find_binary()),
            "jaeger": find_program(JAEGER, "jaeger"),
            "otelcol": find_program(JAEGER, "otelcol"),
            "prometheus": find_program(PROMETHEUS, "prometheus"),
        }
        with tempfile.TemporaryDirectory(prefix="rendezvous-stand-ins-") as context:
            for name, path in programs.items():
                if path is None:
                    raise EngineError(f"{name} is not here, and its image cannot be pulled", could_run=True)
                shutil.copy2(path.resolve(), Path(context) / name)
            self._run(
                [self._compose, "--file", str(HERE / "stand-ins.yaml"), "build", "--quiet"],
                {"CONTEXT": context, "DOCKERFILE": str(HERE / "stand-ins" / "Dockerfile")},
            )

    def _prepare_builds(self) -> None:
        """Leaves on the host what a build without an index takes from there."""
        self._run([str(FILES / "images" / "wheelhouse.sh")])
        _prepare("java")
        if platform.freedesktop_os_release().get("VERSION_CODENAME") == DEBIAN:
            _prepare("r")
            self.environment["R_LIBRARY"] = "host"

    def _run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        try:
            done = subprocess.run(
                command,
                env={**self._engine.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=BUILD_TIMEOUT_S,
                check=False,
            )
        except (subprocess.TimeoutExpired, DockerException) as error:
            raise EngineError(f"`{' '.join(command[:2])}`: {error}", could_run=True) from error
        if done.returncode:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
            raise EngineError(f"`{' '.join(command)}` ended with status {done.returncode}:\n{end}", could_run=True)


def _prepare(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolchains", "prepare", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "CI": "true"},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"{name} could not be prepared: {done.stderr[-800:]}", could_run=True)


def _as_options(files: Sequence[Path]) -> list[str]:
    return [option for path in files for option in ("--file", str(path))]
