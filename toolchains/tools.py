"""Finds the tools of a language, and installs them where that can be done."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from toolchains.languages import Language, Tool

_VERSION = re.compile(r"(\d+(?:\.\d+)+|\d+)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_APT_TIMEOUT_S = 900.0


def find_gaps(language: Language) -> list[str]:
    """Returns what is missing for *language*, one line each; empty: nothing is."""
    gaps = [gap for tool in language.tools if (gap := _gap(tool))]
    return gaps + [f"{path} is not there" for path in language.probes if not path.exists()]


def can_install() -> bool:
    """Whether packages can be installed here: Debian's package manager, and root."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def install(packages: Sequence[str]) -> str:
    """Installs Debian *packages*; returns what went wrong, empty if nothing did."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_APT_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"`{' '.join(command[:2])}` took longer than {_APT_TIMEOUT_S:g} s"
        if done.returncode and command[1] == "install":
            return "\n".join((done.stdout + done.stderr).splitlines()[-5:])
    return ""


def how_to_get(language: Language) -> str:
    """Returns the line that tells how to get what *language* needs."""
    others = [tool.otherwise for tool in language.tools if tool.otherwise]
    line = f"Debian: apt-get install {' '.join(language.packages)}"
    return f"{line} ({'; '.join(others)})" if others else line


def _gap(tool: Tool) -> str:
    name = tool.command[0]
    if shutil.which(name) is None:
        return f"{name} not found"
    if not tool.least:
        return ""
    said = subprocess.run(list(tool.command), capture_output=True, text=True, check=False)
    found = _VERSION.search(_COLOURS.sub("", said.stdout + said.stderr))
    version = tuple(int(part) for part in found[1].split(".")) if found else ()
    if version >= tool.least:
        return ""
    wanted = ".".join(map(str, tool.least))
    return f"{name} {found[1] if found else 'of unknown version'} is too old: {wanted} or newer is needed"
