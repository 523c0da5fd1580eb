"""The targets of the design, as ratios of what was measured in one run."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import msgspec

from bench.cells import Cell
from bench.load import Outcome


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One cell's outcome and what it cost."""

    outcome: Outcome
    model_cpu_s: float
    """Processor time of the models' processes, in the measured time."""
    total_cpu_s: float
    """Processor time of all processes of the system and of the load generator."""

    @property
    def model_cpu_per_request_s(self) -> float:
        """Processor seconds of the models for one request."""
        return self.model_cpu_s / max(self.outcome.count, 1)

    @property
    def total_cpu_per_request_s(self) -> float:
        """Processor seconds of everything for one request."""
        return self.total_cpu_s / max(self.outcome.count, 1)


Results = Mapping[str, Measurement]
"""Measurements by the key of their cell."""


class Target(NamedTuple):
    """One row of the design's table."""

    what: str
    sign: Literal["<=", ">="]
    limit: float
    measure: Callable[[Results], float]
    """Gives the number that is compared; KeyError when a cell was not measured."""
    unit: str = "x"


class Verdict(NamedTuple):
    """A target and what came of it."""

    target: Target
    actual: float | None
    """None: not measured in this run."""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None: not measured."""
        if self.actual is None:
            return None
        return self.actual <= self.target.limit if self.target.sign == "<=" else self.actual >= self.target.limit


def judge(results: Results) -> list[Verdict]:
    """Returns a verdict on each target."""
    return [Verdict(target, _measured(target, results)) for target in TARGETS]


def _measured(target: Target, results: Results) -> float | None:
    try:
        return target.measure(results)
    except (KeyError, ZeroDivisionError):
        return None


def throughput_ratio(ours: Cell, *theirs: Cell) -> Callable[[Results], float]:
    """Returns the measure: our requests a second for each of theirs, the best of theirs that was measured."""

    def measure(results: Results) -> float:
        rates = [results[cell.key].outcome.per_s for cell in theirs if cell.key in results]
        if not rates:
            raise KeyError(theirs[0].key)
        return results[ours.key].outcome.per_s / max(rates)

    return measure


def median_ratio(ours: Cell, theirs: Cell) -> Callable[[Results], float]:
    """Returns the measure: our median latency for each millisecond of theirs."""
    return lambda results: results[ours.key].outcome.p50_ms / results[theirs.key].outcome.p50_ms


def cost_of_models(few: Cell, many: Cell) -> Callable[[Results], float]:
    """Returns the measure: share of throughput lost to more models beyond their own processor time.

    On a machine whose processors are saturated, throughput is inverse to processor time for one request. So with
    t requests/s and c seconds for one request at *few* models, and d more seconds spent in the models at *many*,
    t * c / (c + d) requests/s are expected; what is below that is the cost.
    """

    def measure(results: Results) -> float:
        before, after = results[few.key], results[many.key]
        spent = before.total_cpu_per_request_s
        more = max(0.0, after.model_cpu_per_request_s - before.model_cpu_per_request_s)
        expected_per_s = before.outcome.per_s * spent / (spent + more)
        return 1.0 - after.outcome.per_s / expected_per_s

    return measure


def best_rows_per_s(system: str) -> Callable[[Results], float]:
    """Returns the measure: most rows a second of a system in any cell with 1,000-row requests."""

    def measure(results: Results) -> float:
        rates = [
            measurement.outcome.rows_per_s
            for key, measurement in results.items()
            if key.startswith(f"{system}/") and key.endswith("/1000r")
        ]
        if not rates:
            raise KeyError(system)
        return max(rates)

    return measure


def count_late(key: str) -> Callable[[Results], float]:
    """Returns the measure: answers later than the deadline and 5 ms, and requests that got none."""
    return lambda results: results[key].outcome.late + sum(results[key].outcome.errors.values())


def _per_disk(disk: str, *, median: float, echo: float) -> list[Target]:
    """Targets that are measured twice, with and without flushing; one a line, as in the design's table."""
    three, credit = f"rv3-linear-{disk}", f"rv3-credit-{disk}"

    def at(system: str, mode: str, clients: int) -> Cell:
        return Cell(system, mode, clients, 1)

    def ratio(ours: str, *theirs: str, mode: str = "unary") -> Callable[[Results], float]:
        return throughput_ratio(at(ours, mode, 64), *(at(system, mode, 64) for system in theirs))

    def slower(ours: str, theirs: str) -> Callable[[Results], float]:
        return median_ratio(at(ours, "unary", 1), at(theirs, "unary", 1))

    one_to_five = cost_of_models(at(f"rv1-linear-{disk}", "unary", 64), at(f"rv5-linear-{disk}", "unary", 64))
    return [
        Target(f"{disk}: median, 1 client, against a direct call", "<=", median, slower(three, "direct-linear")),
        Target(f"{disk}: the same with scikit-learn models", "<=", median, slower(credit, "direct-credit")),
        Target(f"{disk}: requests/s, 64 clients, against a bare echo", ">=", echo, ratio(three, "echo-linear")),
        Target(f"{disk}: 64 streams against a bare echo", ">=", 0.8, ratio(three, "echo-linear", mode="stream")),
        Target(f"{disk}: requests/s, 64 clients, against a plain fan-out", ">=", 5.0, ratio(credit, "fanout-credit")),
        Target(f"{disk}: requests/s, 64 clients, against MLServer", ">=", 10.0, ratio(credit, *_MLSERVERS)),
        Target(f"{disk}: lost from 1 to 5 models beyond their own time", "<=", 0.15, one_to_five, ""),
        Target(f"{disk}: rows/s, 1,000-row requests, 1 model", ">=", 1e6, best_rows_per_s(f"rv1-alone-{disk}"), "/s"),
    ]  # fmt: skip


def _by_door(door: str) -> Callable[[Results], float]:
    return median_ratio(Cell(f"rv3-door-{door}", "unary", 1, 1), Cell("rv3-door-grpc", "unary", 1, 1))


_MLSERVERS = ("mlserver-credit", "mlserver-credit-workers")
HUNG_KEYS = {
    "fallback": "hung-fallback/unary/16c/1r",
    "deadline": "hung-deadline/unary/16c/1r",
}
"""Keys of the two runs with a hung model, by what the policy does."""

TARGETS: list[Target] = [
    *_per_disk("relaxed", median=2.5, echo=0.7),
    *_per_disk("flushed", median=4.0, echo=0.5),
    *(
        Target(f"median, 1 client, by {door} against gRPC", "<=", most, _by_door(door))
        for door, most in (("rest", 1.3), ("oip-grpc", 1.2), ("oip-rest", 1.2))
    ),
    Target("late with a hung champion, next model answers", "<=", 0, count_late(HUNG_KEYS["fallback"]), ""),
    Target("late when only the deadline decides", "<=", 0, count_late(HUNG_KEYS["deadline"]), ""),
]
