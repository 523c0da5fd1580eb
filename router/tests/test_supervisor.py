"""The supervisor: restarts what dies, stops what it started, leaves nothing running."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from rendezvous_router.lifeline import read_groups
from rendezvous_router.supervisor import Child, ChildEvent, Restarts, Supervisor, SupervisorError

FAST = Restarts(shortest_s=0.01, longest_s=0.05)
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
PARENT = (
    "import subprocess,sys,time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('grandchild', child.pid, flush=True)\n"
    "time.sleep(600)\n"
)


def _python(code: str, name: str = "child") -> Child:
    return Child(name=name, command=[sys.executable, "-c", code])


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - processes are watched from outside
            await asyncio.sleep(0.01)


def _log_says(supervisor: Supervisor, word: str, name: str = "child") -> Callable[[], bool]:
    return lambda: supervisor.log_of(name).exists() and word in supervisor.log_of(name).read_text()


async def test_killed_child_is_restarted(tmp_path: Path) -> None:
    """A child that is killed runs again under another process id, and the event says what happened."""
    events: list[ChildEvent] = []
    supervisor = Supervisor(logs=tmp_path, restarts=FAST, on_event=events.append)
    first = await supervisor.start(_python(SLEEPER))
    try:
        os.kill(first, signal.SIGKILL)
        await _until(lambda: supervisor.pid_of("child") not in (None, first))
        assert supervisor.restarts_of("child") == 1
        assert [(e.kind, e.status) for e in events[:2]] == [("started", None), ("died", -signal.SIGKILL)]
    finally:
        await supervisor.stop()
    assert events[-1].kind == "stopped"


async def test_pauses_grow_and_are_capped(tmp_path: Path) -> None:
    """A child that dies at once is restarted after growing pauses up to the cap."""
    events: list[ChildEvent] = []
    supervisor = Supervisor(logs=tmp_path, restarts=FAST, on_event=events.append)
    await supervisor.start(_python("raise SystemExit(3)"))
    await _until(lambda: sum(e.kind == "died" for e in events) >= 5)
    await supervisor.stop()
    died = [e for e in events if e.kind == "died"]
    assert [e.pause_s for e in died[:5]] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert died[0].status == 3


async def test_stable_child_starts_from_the_shortest_pause(tmp_path: Path) -> None:
    """The pause is reset once a child has lived for the stable time."""
    events: list[ChildEvent] = []
    restarts = Restarts(shortest_s=0.01, longest_s=1.0, stable_s=0.0)
    supervisor = Supervisor(logs=tmp_path, restarts=restarts, on_event=events.append)
    await supervisor.start(_python("pass"))
    await _until(lambda: sum(e.kind == "died" for e in events) >= 3)
    await supervisor.stop()
    assert {e.pause_s for e in events if e.kind == "died"} == {0.01}


async def test_stop_goes_in_reverse_with_the_named_first(tmp_path: Path) -> None:
    """Children stop last started first, after those named; each has ended when the next is asked."""
    events: list[ChildEvent] = []
    supervisor = Supervisor(logs=tmp_path, on_event=events.append)
    pids = [await supervisor.start(_python(SLEEPER, name)) for name in ("nats", "router", "decoy", "model")]
    await supervisor.stop(first=["router"])
    assert [e.name for e in events if e.kind == "stopped"] == ["router", "model", "decoy", "nats"]
    assert not any(_runs(pid) for pid in pids)


async def test_one_child_is_stopped_and_forgotten(tmp_path: Path) -> None:
    """A child can be stopped alone, the others run on, and its name is free for another; an unknown one is none."""
    supervisor = Supervisor(logs=tmp_path, restarts=FAST)
    stays, goes = [await supervisor.start(_python(SLEEPER, name)) for name in ("stays", "goes")]
    await supervisor.stop_child("goes")
    await supervisor.stop_child("goes")
    assert (supervisor.names, _runs(stays), _runs(goes)) == (("stays",), True, False)
    await supervisor.start(_python(SLEEPER, "goes"))
    await supervisor.stop()


async def test_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    """A child that does not end by SIGTERM is ended by SIGKILL."""
    events: list[ChildEvent] = []
    supervisor = Supervisor(logs=tmp_path, grace_s=0.2, on_event=events.append)
    await supervisor.start(_python(STUBBORN))
    await _until(_log_says(supervisor, "up"))
    await supervisor.stop()
    assert events[-1].status == -signal.SIGKILL


async def test_grandchildren_end_with_a_killed_child(tmp_path: Path) -> None:
    """What a killed child left in its process group is ended before the child is started again."""
    supervisor = Supervisor(logs=tmp_path, restarts=FAST)
    first = await supervisor.start(_python(PARENT))
    await _until(_log_says(supervisor, "grandchild"))
    grandchild = int(supervisor.log_of("child").read_text().split()[1])
    os.kill(first, signal.SIGKILL)
    await _until(lambda: supervisor.restarts_of("child") == 1)
    assert not _runs(grandchild)
    await supervisor.stop()


async def test_logs_are_apart(tmp_path: Path) -> None:
    """Each child writes to a log of its own."""
    supervisor = Supervisor(logs=tmp_path)
    for name in ("one", "two"):
        await supervisor.start(_python(f"print('this is {name}'); {SLEEPER}", name))
    for name in ("one", "two"):
        await _until(_log_says(supervisor, "up", name))
    await supervisor.stop()
    assert supervisor.log_of("one").read_text() == "this is one\nup\n"


async def test_program_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Starting a program that is not there names the child and the program."""
    supervisor = Supervisor(logs=tmp_path)
    with pytest.raises(SupervisorError, match="model: cannot run 'no-such-program'"):
        await supervisor.start(Child(name="model", command=["no-such-program"]))
    await supervisor.stop()


async def test_name_is_used_once(tmp_path: Path) -> None:
    """A second child of the same name is refused."""
    supervisor = Supervisor(logs=tmp_path)
    await supervisor.start(_python(SLEEPER))
    with pytest.raises(SupervisorError, match="already kept"):
        await supervisor.start(_python(SLEEPER))
    await supervisor.stop()


_SUPERVISOR_PROCESS = """
import asyncio, sys
from pathlib import Path
from rendezvous_router.supervisor import Child, Supervisor
async def main():
    supervisor = Supervisor(logs=Path(sys.argv[1]), grace_s=0.5)
    for number in range(2):
        await supervisor.start(Child(name=f"c{number}", command=[sys.executable, "-c", sys.argv[2]]))
    await asyncio.Event().wait()
asyncio.run(main())
"""


def _family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the supervisor leaves neither children nor their children nor the lifeline behind."""
    command = [sys.executable, "-c", _SUPERVISOR_PROCESS, str(tmp_path), PARENT]
    with subprocess.Popen(command) as supervisor:
        deadline = time.monotonic() + 20
        while len(_family(supervisor.pid)) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        family = _family(supervisor.pid)
        assert len(family) == 5, "two children, their two children, the lifeline"
        supervisor.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [process for process in alive if _runs(process.pid)] == []


@pytest.mark.parametrize(
    ("lines", "groups"),
    [
        ([], set()),
        (["+1\n", "+2\n"], {1, 2}),
        (["+1\n", "-1\n"], set()),
        (["+1\n", "-9\n"], {1}),
        (["+x\n", "7\n", "\n", "+"], set()),
    ],
)
def test_groups_are_read(lines: list[str], groups: set[int]) -> None:
    """The lifeline keeps the groups named and not withdrawn; what it cannot read it leaves alone."""
    assert read_groups(lines) == groups
