"""Which languages are built here, and how their programs are run."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from toolchains.building import is_built
from toolchains.languages import LANGUAGES, R_LIBRARY, ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that serves a model; what it serves is told by its environment."""

    command: Sequence[str]
    """The command."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What it needs in its environment to start."""

    def __str__(self) -> str:
        return shlex.join(self.command)


PROBES: Mapping[str, Program] = {
    "python": Program(command=[sys.executable, "-m", "rendezvous_sdk.probe"]),
    "java": Program(command=["java", "-jar", str(ROOT / "sdk-java" / "probe" / "target" / "rendezvous-probe.jar")]),
    "r": Program(command=["Rscript", "-e", "rendezvous::rdv_probe()"], env={"R_LIBS": str(R_LIBRARY)}),
}
"""The model for the conformance kit, by language."""


def require_language(name: str) -> None:
    """Skips the test where *name* is not built, visibly; in continuous integration it fails instead."""
    if name == "python" or is_built(LANGUAGES[name]):
        return
    reason = f"{LANGUAGES[name].title} is not built here: `make languages` says what is missing"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
