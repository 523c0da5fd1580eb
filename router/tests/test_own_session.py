"""A program that runs itself again in a session of its own: it stays one program for whoever started it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

STARTS = """
import sys
from rendezvous_router.own_session import run_in_own_session
raise SystemExit(run_in_own_session([sys.executable, "-c", *sys.argv[1:]]))
"""
RUNS = """
import os, signal, sys, time
from rendezvous_router.own_session import follow_starter
follow_starter()
try:
    print(os.getpid(), os.getsid(0), "RENDEZVOUS_STARTER_FD" in os.environ, flush=True)
    exec(sys.argv[1])
except KeyboardInterrupt:
    raise SystemExit(130)
"""
FOR_EVER = "while True: time.sleep(60)"
LIMIT_S = 20.0


@contextmanager
def started(then: str) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """What was started, and what it runs in a session of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS, RUNS, then], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as starter:
        assert starter.stdout is not None
        pid, session, is_named = starter.stdout.readline().split()
        assert pid == session
        assert is_named == "False", "what it starts itself does not follow"
        try:
            yield starter, psutil.Process(int(pid))
        finally:
            if starter.poll() is None:
                starter.kill()


def wait_for(what: Callable[[], bool]) -> None:
    """Returns when it is so."""
    give_up = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.mark.parametrize("status", [0, 3])
def test_it_ends_as_the_other_ends(status: int) -> None:
    """Its status is the other's."""
    with started(f"sys.exit({status})") as (starter, _):
        assert starter.wait(LIMIT_S) == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_it_ends_by_the_others_signal(number: signal.Signals) -> None:
    """Whoever waits for it sees the same signal."""
    with started(FOR_EVER) as (starter, other):
        other.send_signal(number)
        assert starter.wait(LIMIT_S) == -number


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)]
)
def test_signals_are_passed_on(number: signal.Signals, status: int) -> None:
    """Ctrl-C and the like reach the other, though it is not on the terminal any more."""
    with started(FOR_EVER) as (starter, other):
        starter.send_signal(number)
        assert starter.wait(LIMIT_S) == status
        wait_for(lambda: not other.is_running())


def test_the_other_does_not_outlive_it() -> None:
    """SIGKILL, which nobody can pass on, ends both."""
    with started(FOR_EVER) as (starter, other):
        starter.kill()
        assert starter.wait(LIMIT_S) == -signal.SIGKILL
        wait_for(lambda: not other.is_running() or other.status() == psutil.STATUS_ZOMBIE)


def test_both_stop_and_go_on() -> None:
    """Ctrl-Z, then `fg`."""
    with started(FOR_EVER) as (starter, other):
        here = psutil.Process(starter.pid)
        starter.send_signal(signal.SIGTSTP)
        wait_for(lambda: here.status() == other.status() == psutil.STATUS_STOPPED)
        starter.send_signal(signal.SIGCONT)
        wait_for(lambda: psutil.STATUS_STOPPED not in (here.status(), other.status()))
        starter.terminate()
        assert starter.wait(LIMIT_S) == -signal.SIGTERM


def test_only_who_shares_its_weight_is_run_again() -> None:
    """Who leads its session has its weight to itself; the others share one, where the kernel weighs sessions at all."""
    ask = "import rendezvous_router.own_session as it; print(it.is_weighed_alone(), it.is_weighed_with_others())"

    def told(*, leads: bool) -> list[str]:
        command = [sys.executable, "-c", ask]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, start_new_session=leads
        ).stdout.split()

    alone, with_others = told(leads=True)[0], told(leads=False)[1]
    assert told(leads=True) == [alone, "False"]
    assert told(leads=False) == ["False", with_others]
    assert alone == with_others
    enabled = Path("/proc/sys/kernel/sched_autogroup_enabled")
    if not enabled.exists() or enabled.read_text().strip() != "1":
        assert alone == "False"
