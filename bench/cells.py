"""What is measured: systems by name, and for each the loads it is put under."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from bench import mlserver, systems
from bench.doors import DOORS
from bench.systems import System, Workshop

ALL_CLIENTS = (1, 4, 16, 64, 256)


class Cell(NamedTuple):
    """One system under one load."""

    system: str
    mode: str
    """`unary` or `stream`."""
    clients: int
    rows: int
    """Rows in a request."""

    @property
    def key(self) -> str:
        """Its name in the results: `echo-linear/unary/64c/1r`."""
        return f"{self.system}/{self.mode}/{self.clients}c/{self.rows}r"


def open_system(name: str, workshop: Workshop, rows: int) -> AbstractContextManager[System]:
    """Returns the system called *name*, not yet started.

    Raises:
        KeyError: there is none of that name.
    """
    return _SYSTEMS[name](workshop, rows)


def plan(*, quick: bool = False, only: Sequence[str] = ()) -> list[Cell]:
    """Returns the cells of a run, those of one system and number of rows side by side.

    Args:
        quick: 1 and 64 clients only, and no 1,000-row requests besides those that a target needs.
        only: leave out systems whose names contain none of these texts.
    """
    cells = [
        Cell(system, mode, clients, rows)
        for system, rows, loads in _LOADS
        for mode, counts in loads.items()
        for clients in counts
        if not quick or clients in {1, 64} or rows > 1
    ]
    return [cell for cell in cells if not only or any(text in cell.system for text in only)]


def _rendezvous(
    kind: str, models: int, *, relaxed: bool, extras: bool = True
) -> Callable[[Workshop, int], AbstractContextManager[System]]:
    return lambda workshop, rows: systems.rendezvous(
        workshop, kind, rows, models=models, relaxed=relaxed, extras=extras
    )


def _traced(share: float | None) -> Callable[[Workshop, int], AbstractContextManager[System]]:
    return lambda workshop, rows: systems.rendezvous(workshop, "linear", rows, traced=share)


def _by_door(door: str | None) -> Callable[[Workshop, int], AbstractContextManager[System]]:
    return lambda workshop, rows: systems.rendezvous(workshop, "linear", rows, door=door)


_SYSTEMS: dict[str, Callable[[Workshop, int], AbstractContextManager[System]]] = {
    "echo-linear": lambda workshop, rows: systems.echo(workshop, "linear", rows),
    "direct-linear": lambda workshop, rows: systems.direct(workshop, "linear", rows),
    "direct-credit": lambda workshop, rows: systems.direct(workshop, "credit", rows),
    "fanout-credit": systems.fanout,
    "mlserver-credit": lambda workshop, _: mlserver.mlserver(workshop, parallel=False),
    "mlserver-credit-workers": lambda workshop, _: mlserver.mlserver(workshop, parallel=True),
}
for _disk in ("relaxed", "flushed"):
    _relaxed = _disk == "relaxed"
    for _count in (1, 3, 5):
        _SYSTEMS[f"rv{_count}-linear-{_disk}"] = _rendezvous("linear", _count, relaxed=_relaxed)
    _SYSTEMS[f"rv3-credit-{_disk}"] = _rendezvous("credit", 3, relaxed=_relaxed)
    _SYSTEMS[f"rv1-alone-{_disk}"] = _rendezvous("linear", 1, relaxed=_relaxed, extras=False)
for _share, _name in ((None, "off"), (0.01, "1pct"), (1.0, "100pct")):
    _SYSTEMS[f"rv3-traced-{_name}"] = _traced(_share)

for _door in ("grpc", *DOORS):
    _SYSTEMS[f"rv3-door-{_door}"] = _by_door(None if _door == "grpc" else _door)

SYSTEM_NAMES = tuple(_SYSTEMS)
"""Names of all systems."""

_EVERY: dict[str, tuple[int, ...]] = {"unary": ALL_CLIENTS, "stream": ALL_CLIENTS}
_LOADS: list[tuple[str, int, dict[str, tuple[int, ...]]]] = [
    ("echo-linear", 1, _EVERY),
    ("direct-linear", 1, {"unary": (1, 64), "stream": (1, 64)}),
    ("rv3-linear-relaxed", 1, _EVERY),
    ("rv3-linear-flushed", 1, _EVERY),
    ("rv1-linear-relaxed", 1, {"unary": (1, 64)}),
    ("rv5-linear-relaxed", 1, {"unary": (1, 64)}),
    ("rv1-linear-flushed", 1, {"unary": (1, 64)}),
    ("rv5-linear-flushed", 1, {"unary": (1, 64)}),
    ("rv3-traced-off", 1, {"unary": (1, 64)}),
    ("rv3-traced-1pct", 1, {"unary": (1, 64)}),
    ("rv3-traced-100pct", 1, {"unary": (1, 64)}),
    *((f"rv3-door-{door}", 1, {"unary": (1, 64)}) for door in ("grpc", *DOORS)),
    ("echo-linear", 1000, {"unary": (1, 16)}),
    ("direct-linear", 1000, {"unary": (1, 16), "stream": (16,)}),
    ("rv1-alone-relaxed", 1000, {"unary": (1, 4, 16), "stream": (4, 16)}),
    ("rv1-alone-flushed", 1000, {"unary": (1, 4, 16), "stream": (4, 16)}),
    ("rv3-linear-flushed", 1000, {"unary": (1, 16)}),
    ("direct-credit", 1, {"unary": (1, 64)}),
    ("fanout-credit", 1, {"unary": (1, 64)}),
    ("mlserver-credit", 1, {"unary": (1, 64)}),
    ("mlserver-credit-workers", 1, {"unary": (1, 64)}),
    ("rv3-credit-relaxed", 1, {"unary": (1, 64)}),
    ("rv3-credit-flushed", 1, {"unary": (1, 64)}),
]
