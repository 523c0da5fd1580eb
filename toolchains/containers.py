"""What the tests in containers need of the host: a Docker engine's programs, debootstrap, Compose.

Prepared as the languages are: `python -m toolchains prepare containers`.
"""

from toolchains.languages import TOOLS, Language, Tool

COMPOSE = TOOLS / "compose" / "docker-compose"
"""Docker Compose, where it was prepared."""

CONTAINERS = Language(
    name="containers",
    title="Containers",
    tools=[
        Tool(command=["dockerd", "--version"], least=(20, 10)),
        Tool(command=["containerd", "--version"]),
        Tool(command=["iptables", "--version"]),
        Tool(command=["debootstrap", "--version"]),
    ],
    packages=["docker.io", "iptables", "debootstrap"],
    sources=["toolchains/compose.sh"],
    outputs=[".tools/compose/docker-compose"],
    build=["toolchains/compose.sh", ".tools/compose"],
)
"""Only for a private engine: where one is reachable, just Compose is used of this."""
