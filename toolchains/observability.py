"""The programs with which operators look at an installation, for the tests: Jaeger, the collector, Prometheus.

They are prepared as the languages are (`python -m toolchains prepare jaeger prometheus`) and kept in the same cache.
"""

import shutil
from pathlib import Path

from toolchains.building import is_built
from toolchains.languages import TOOLS, Language, Tool

JAEGER = "jaeger"
PROMETHEUS = "prometheus"

OBSERVERS: dict[str, Language] = {
    JAEGER: Language(
        name=JAEGER,
        title="Jaeger and the OpenTelemetry collector",
        tools=[Tool(command=["go", "version"], least=(1, 24), otherwise="install Go 1.24 or newer from its makers")],
        packages=["golang-go"],
        sources=["toolchains/jaeger"],
        outputs=[".tools/jaeger"],
        build=["toolchains/jaeger/build.sh", ".tools/jaeger"],
    ),
    PROMETHEUS: Language(
        name=PROMETHEUS,
        title="Prometheus",
        tools=[
            Tool(command=["apt-get", "--version"], otherwise="elsewhere: have prometheus and promtool in the PATH"),
            Tool(command=["dpkg-deb", "--version"]),
        ],
        packages=["prometheus"],
        sources=["toolchains/prometheus.sh"],
        outputs=[".tools/prometheus"],
        build=["toolchains/prometheus.sh", ".tools/prometheus"],
    ),
}
"""What is prepared, by name; `jaeger` gives the programs jaeger and otelcol, `prometheus` prometheus and promtool."""


def find_program(observer: str, program: str) -> Path | None:
    """Finds a program of *observer*: the one that was prepared, else one in the PATH; None: there is none."""
    prepared = TOOLS / observer / program
    if is_built(OBSERVERS[observer]) and prepared.exists():
        return prepared
    found = shutil.which(program)
    return Path(found) if found else None
