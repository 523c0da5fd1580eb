"""The file of cases: what a candidate must do before it is published."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct
from rendezvous.spec import parse_duration

__all__ = [
    "Cases",
    "CasesError",
    "Golden",
    "HardValues",
    "Invariances",
    "Latency",
    "Memory",
    "Monotonic",
    "RowsSource",
    "read_cases",
]

Direction = Literal["increasing", "decreasing"]
Expectation = Literal["answer", "refuse", "either"]
Duration = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(us|ms|s|m)$")]
Rate = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?/s$")]
Size = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(KiB|MiB|GiB)$")]
Count = Annotated[int, Meta(ge=1)]
Tolerance = Annotated[float, Meta(ge=0)]

_BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class CasesError(ValueError):
    """The file of cases, or what it names, cannot be used; the message tells where and what to do."""


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the parts have in common."""


class RowsSource(_Part, frozen=True, rename={"kind": "from"}):
    """Rows from elsewhere."""

    kind: Literal["archive", "csv", "json", "parquet"]
    """Where they come from."""
    path: str = ""
    """The file, from the folder of the file of cases; for all but `archive`."""
    last: Count = 200
    """How many, the last ones."""
    leave_out: list[str] = []
    """Columns that are no inputs."""


class Golden(_Part, frozen=True):
    """Rows and what they must give."""

    inputs: dict[str, Any] | Annotated[list[dict[str, Any]], Meta(min_length=1)]
    """One row, or several."""
    name: str = ""
    """For the report; default: its number."""
    outputs: dict[str, Any] | list[dict[str, Any]] | None = None
    """What comes out, for each row; columns that are not named may be anything."""
    refused: str = ""
    """Instead: the error's code."""
    tolerance: Tolerance = 1e-6
    """By how much numbers may differ, absolute."""


class Invariances(_Part, frozen=True):
    """What must make no difference to a row's score."""

    neighbours: bool = True
    """The rows beside it."""
    order: bool = True
    """Their order."""
    repeats: bool = True
    """How often it is asked."""
    rows: Count = 50
    """How many rows are tried."""
    tolerance: Tolerance = 1e-9
    """By how much numbers may differ, of their size: sums of floats depend on how rows are grouped."""


class Monotonic(_Part, frozen=True):
    """One input that moves an output in one direction only."""

    direction: Direction
    """Where the output goes when the input rises."""
    output: str = ""
    """Which output; default: the first that is a floating-point number."""
    steps: list[float] = []
    """Values of the input, rising; default: ten from the least to the greatest of the rows."""
    tolerance: Tolerance = 1e-9
    """By how much it may go the wrong way, absolute."""
    rows: Count = 50
    """How many rows are tried."""


class HardValues(_Part, frozen=True):
    """Rows with a missing or extreme value: the candidate answers, or refuses with a clear error, and goes on."""

    expect: Expectation = "either"
    """What is expected of all columns."""
    columns: dict[str, Expectation] = {}
    """What is expected of some."""
    only: list[str] = []
    """Columns to try; default: all."""


class Latency(_Part, frozen=True):
    """How fast it answers at a rate, of requests of one row, counted from when each was due."""

    rate: Rate
    """Requests a second."""
    p99: Duration
    """Ninety-nine of a hundred are answered within it."""
    seconds: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    """For how long."""
    p50: Duration | None = None
    """Half are answered within it."""

    @property
    def rate_per_s(self) -> float:
        """Requests a second."""
        return float(self.rate.removesuffix("/s"))

    def limits_s(self) -> dict[float, float]:
        """Seconds by share of the requests."""
        limits = {0.99: parse_duration(self.p99)}
        return limits | ({0.5: parse_duration(self.p50)} if self.p50 is not None else {})


class Memory(_Part, frozen=True):
    """How much the candidate's processes may grow under requests; needs --run."""

    grows_at_most: Size
    """Resident memory, after as many requests again to get warm (at most 500)."""
    requests: Count = 5000
    """Requests of one row."""

    @property
    def limit_bytes(self) -> int:
        """The limit in bytes."""
        return int(float(self.grows_at_most[:-3]) * _BYTES[self.grows_at_most[-3:]])


class Cases(_Part, frozen=True):
    """The whole file."""

    endpoint: str = ""
    """Endpoint of the candidate; for rows from the archive, and where it is found by its registration."""
    rows: RowsSource | Annotated[list[dict[str, Any]], Meta(min_length=1)] = []
    """Rows that all checks but `golden` take."""
    types: dict[str, str] = {}
    """Types of inputs (`FP64`), where the candidate does not declare them and values do not tell."""
    call_limit: Duration = "10s"
    """A call that takes longer hangs."""
    golden: list[Golden] = []
    """Rows and what they must give."""
    invariances: Invariances | None = None
    """What must make no difference."""
    monotonic: dict[str, Direction | Monotonic] = {}
    """Inputs that move an output in one direction."""
    missing: HardValues | None = None
    """Missing values, column by column."""
    extremes: HardValues | None = None
    """Extreme values, column by column."""
    latency: Latency | None = None
    """How fast."""
    memory: Memory | None = None
    """How much memory."""

    @property
    def call_limit_s(self) -> float:
        """`call_limit` in seconds."""
        return parse_duration(self.call_limit)

    @property
    def needs_rows(self) -> bool:
        """Whether anything but golden cases is asked for."""
        return any((self.invariances, self.monotonic, self.missing, self.extremes, self.latency, self.memory))


def read_cases(path: Path) -> Cases:
    """Reads and checks a file of cases.

    Raises:
        CasesError: it cannot be read; or something in it is wrong: tells the path in it.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CasesError(f"{path} cannot be read: {error}") from error
    try:
        cases = msgspec.convert(document, Cases)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        raise CasesError(f"{path}: {where.strip('`').removeprefix('$').lstrip('.') or 'the file'}: {what}") from error
    _check(path, cases)
    return cases


def _check(path: Path, cases: Cases) -> None:
    if not (cases.golden or cases.needs_rows):
        raise CasesError(f"{path}: it asks for nothing: give golden, invariances, monotonic, missing, extremes, ...")
    if cases.needs_rows and not cases.rows:
        raise CasesError(f"{path}: rows: missing; all checks but golden take rows: write some, or name a source")
    for number, golden in enumerate(cases.golden):
        if (golden.outputs is None) == (not golden.refused):
            raise CasesError(f"{path}: golden[{number}]: give either outputs or refused")
        given = [len(each) if isinstance(each, list) else 1 for each in (golden.inputs, golden.outputs) if each]
        if golden.outputs is not None and len(set(given)) > 1:
            raise CasesError(f"{path}: golden[{number}]: {given[0]} rows of inputs, {given[1]} of outputs")
    for name, each in cases.monotonic.items():
        if isinstance(each, Monotonic) and each.steps != sorted(set(each.steps)):
            raise CasesError(f"{path}: monotonic.{name}.steps: they must rise: {each.steps}")
    if isinstance(cases.rows, RowsSource) and (cases.rows.kind == "archive") == bool(cases.rows.path):
        raise CasesError(f"{path}: rows.path: needed from a file, and not from the archive")
