"""Runs a guide as its reader would: writes the files that it shows, types its commands, compares what comes out.

What counts, of a guide in Markdown:

- a fenced block with `title="name"` is a file;
- a fenced block `console` holds commands after `$ ` (a line that ends in a backslash goes on in the next one);
  ` &` at the end leaves the command running, and goes on when it says that it is ready;
- the other lines of such a block are what the command before them prints; `...` stands for anything, also for lines;
- a block `console no-test` is for the reader only.

The default ports are replaced by free ones, in files and commands alike.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rendezvous_router.nats_server import find_free_port

from tests.support.processes import Process

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w+)?[ ]*(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')
_READY = r".*(ready|grpc 127\.0\.0\.1:\d+)"
_COMMAND_TIMEOUT_S = 240.0


@dataclass(slots=True)
class File:
    """A file that the guide shows."""

    name: str
    text: str


@dataclass(slots=True)
class Command:
    """A command that the guide tells to type, and what it says will be printed."""

    text: str
    expected: list[str] = field(default_factory=list)


def read_steps(text: str) -> Iterator[File | Command]:
    """Returns the steps of a guide, in order."""
    for kind, info, body in _FENCE.findall(text):
        if title := _TITLE.search(info):
            yield File(title[1], body)
        elif kind == "console" and "no-test" not in info:
            yield from _read_commands(body)


def _read_commands(body: str) -> Iterator[Command]:
    command: Command | None = None
    for line in body.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command
            command = Command(line[2:])
        elif command is not None and command.text.endswith("\\"):
            command.text += "\n" + line
        elif command is not None:
            command.expected.append(line)
    if command is not None:
        yield command


class Reader:
    """Someone who follows a guide in an empty folder. A context manager: what was left running is ended.

    Args:
        folder: the empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"8001": find_free_port(), "4222": find_free_port()}
        self._running: list[Process] = []
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "R_LIBS": str(ROOT / ".tools" / "r-library"),
            "RENDEZVOUS_NATS": f"nats://127.0.0.1:{self.ports['4222']}",
            "COLUMNS": "140",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._running):
            process.stop_group()

    def follow(self, guide: Path) -> int:
        """Takes every step of *guide*; returns how many commands were run.

        Raises:
            AssertionError: a command failed, or printed something else.
        """
        count = 0
        for step in read_steps(guide.read_text()):
            if isinstance(step, File):
                path = self.folder / step.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._with_free_ports(step.text, is_project=step.name == "rendezvous.yaml"))
            else:
                self._type(step)
                count += 1
        return count

    def _with_free_ports(self, text: str, *, is_project: bool = False) -> str:
        if is_project and "ports:" not in text:
            text = "ports: {grpc: 8001, nats: 4222}\n" + text
        for usual, free in self.ports.items():
            text = re.sub(rf"\b{usual}\b", str(free), text)
        return text

    def _type(self, command: Command) -> None:
        text = self._with_free_ports(command.text).replace("\\\n", " ")
        environment = dict(self._environment)
        if text.startswith("rendezvous up"):
            del environment["RENDEZVOUS_NATS"]  # it starts the server itself
        if text.endswith(" &"):
            self._leave_running(text.removesuffix(" &"), environment)
            return
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=self.folder,
            env={**_outer(), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"`{text}` ended with status {done.returncode}:\n{said}"
        if any(line.strip() for line in command.expected):
            check_output(command, said)

    def _leave_running(self, text: str, environment: dict[str, str]) -> None:
        process = Process(
            ["bash", "-c", f"exec {text}"],
            log=self.folder / f"background-{len(self._running)}.log",
            ready=_READY,
            env=environment,
            cwd=self.folder,
            new_session=True,
        )
        self._running.append(process)
        process.wait_ready()


def check_output(command: Command, said: str) -> None:
    """Compares what a command printed with what the guide shows, blank space at the ends of lines aside.

    Raises:
        AssertionError: it printed something else.
    """
    pattern = r"\s*\n".join(
        ".*?".join(re.escape(part) for part in line.strip().split("...")) for line in command.expected if line.strip()
    )
    shown = "\n".join(line.strip() for line in said.splitlines() if line.strip())
    assert re.search(pattern, shown, re.DOTALL), f"`{command.text}` printed\n{said}\nbut the guide shows\n" + "\n".join(
        command.expected
    )


def _outer() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RENDEZVOUS_")}
