"""A good client that goes on while others misbehave: Score over gRPC and REST in turn, each answer timed."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import requests
from rendezvous_sdk import Client

from tests.support.stack import Stack

DEADLINE_S = 2.0
PAUSE_S = 0.05
ROW: dict[str, Any] = {"a": [1.5], "b": [2], "tag": ["x"]}


class Regular(threading.Thread):
    """See the module's docstring."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.took_s: list[float] = []
        self.faults: list[str] = []
        self._stack = stack
        self._is_over = threading.Event()

    def run(self) -> None:
        """Asks until `end`."""
        with Client(self._stack.address, endpoint="sum") as client, requests.Session() as http:
            while not self._is_over.is_set():
                self._time(lambda: float(client.score(ROW, timeout=DEADLINE_S)["total"][0]), "gRPC")
                self._time(lambda: self._post(http), "REST")
                self._is_over.wait(PAUSE_S)

    def end(self) -> None:
        """Ends it and checks that every answer was right and in time."""
        self._is_over.set()
        self.join(30)
        assert not self.faults, self.faults[:5]
        assert len(self.took_s) > 1

    def _post(self, http: requests.Session) -> float:
        answer = http.post(f"{self._stack.rest}/v1/endpoints/sum/score", json={"columns": ROW}, timeout=DEADLINE_S)
        return float(answer.json()["columns"]["total"][0])

    def _time(self, ask: Any, door: str) -> None:
        started = time.monotonic()
        try:
            total = ask()
        except Exception as error:  # noqa: BLE001 # told at the end, whatever it is
            self.faults.append(f"{door}: {error!r}")
            return
        self.took_s.append(time.monotonic() - started)
        if total != 3.5 or self.took_s[-1] > DEADLINE_S:
            self.faults.append(f"{door}: {total} after {self.took_s[-1]:.2f} s")


@contextmanager
def undisturbed(stack: Stack, *, grown_mib: int = 64) -> Iterator[Regular]:
    """Within it a good client is served; after it the router has no more memory than before but *grown_mib*.

    And it still runs, has logged no fault of its own, and serves.
    """
    assert stack.router is not None
    process = psutil.Process(stack.router.popen.pid)
    before = process.memory_info().rss
    client = Regular(stack)
    client.start()
    try:
        yield client
    finally:
        client.end()
    assert stack.router.popen.poll() is None
    assert "Traceback" not in stack.router.log.read_text()
    grown = (process.memory_info().rss - before) >> 20
    assert grown <= grown_mib, f"{grown} MiB more than before"
