"""The model programs of the SDKs: how each is run. What they serve is told by their environment."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from toolchains.languages import R_LIBRARY, ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that serves a model."""

    command: Sequence[str]
    """The command."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What it needs in its environment to start."""

    def __str__(self) -> str:
        return shlex.join(self.command)


PROBE_JAR = ROOT / "sdk-java" / "probe" / "target" / "rendezvous-probe.jar"
"""The Java probe with everything it needs, the SDK among it."""

PROBES: Mapping[str, Program] = {
    "python": Program(command=[sys.executable, "-m", "rendezvous_sdk.probe"]),
    "java": Program(command=["java", "-jar", str(PROBE_JAR)]),
    "r": Program(command=["Rscript", "-e", "rendezvous::rdv_probe()"], env={"R_LIBS": str(R_LIBRARY)}),
}
"""The model of the conformance kit, by language; with RENDEZVOUS_PROBE=trivial the model of the bench."""
