"""What a case of the kit is, and the list of all.

A case is a small coroutine function with the decorator `case`; it returns (having perhaps a word for the table),
raises `Failed`, or raises `NotApplicable` with the reason. One module of `cases/` for each group.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rendezvous_router.conformance.site import Site

__all__ = ["CASES", "Case", "Check", "Failed", "Need", "NotApplicable", "case", "expect", "expect_equal", "group"]

Check = Callable[["Site"], Awaitable[str | None]]
_Value = TypeVar("_Value")


class Failed(AssertionError):  # noqa: N818 - it tells what the case has
    """The target does not do what the rule says; the message tells what it did."""


class NotApplicable(Exception):  # noqa: N818 - no error: the case cannot be tried on this target
    """The case cannot be tried on this target; the message tells why."""


class Need(Enum):
    """What a case needs; the value is the reason given where it is not there."""

    GRPC = "the target has no gRPC address"
    POSTBOX = "the target is a gRPC address: give endpoint/model to try the postbox"
    PUBLISH = "puts parcels into a live endpoint's postbox: allow it with --publish"
    RUN = "stops, kills or restarts processes: give the program with --run"
    PROBE = "needs the probe: its commands, its echo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of the kit."""

    id: str
    """Door and name: `grpc.describe`, `postbox.one-parcel`, `program.drain`."""
    title: str
    """What must hold, one sentence."""
    rules: tuple[str, ...]
    """Rules of the protocol."""
    group: str
    """Heading under which it is listed."""
    needs: frozenset[Need]
    """Without these it is not applicable."""
    limit_s: float
    """Seconds after which it has failed."""
    check: Check
    """The case itself."""


CASES: dict[str, Case] = {}
"""Every case by id, in the order in which they run."""

_DOOR_NEEDS = {
    "grpc": {Need.GRPC},
    "postbox": {Need.POSTBOX},
    "program": {Need.POSTBOX, Need.RUN, Need.PUBLISH},
}


def group(name: str) -> "Callable[..., Callable[[Check], Check]]":
    """Returns the decorator `case` for one group; see `case`."""

    def of_group(id_: str, title: str, **options: object) -> Callable[[Check], Check]:
        return case(id_, title, group=name, **options)  # type: ignore[arg-type] # checked by `case`

    return of_group


def case(
    id_: str, title: str, *, group: str, rules: str = "", needs: Sequence[Need] = (), limit_s: float = 15.0
) -> Callable[[Check], Check]:
    """Registers a case.

    Args:
        id_: its id; what comes before the first dot is the door.
        title: what must hold, one sentence.
        group: heading.
        rules: rules of the protocol, separated by spaces (`P71 P72`).
        needs: beyond what the door needs.
        limit_s: seconds after which it has failed.

    Raises:
        ValueError: the id is taken, or its door unknown.
    """
    door = id_.partition(".")[0]
    if id_ in CASES or door not in _DOOR_NEEDS:
        raise ValueError(f"case {id_!r} is there twice, or {door!r} is no door: use one of {', '.join(_DOOR_NEEDS)}")

    def register(check: Check) -> Check:
        CASES[id_] = Case(
            id=id_,
            title=title,
            rules=tuple(rules.split()),
            group=group,
            needs=frozenset({*_DOOR_NEEDS[door], *needs}),
            limit_s=limit_s,
            check=check,
        )
        return check

    return register


def expect(is_so: object, message: str) -> None:
    """Raises Failed with *message* unless *is_so*."""
    if not is_so:
        raise Failed(message)


def expect_equal(what: str, actual: _Value, expected: _Value) -> None:
    """Raises Failed unless the two are equal."""
    if actual != expected:
        raise Failed(f"{what} is {_shown(actual)}; expected {_shown(expected)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def applicable(needs: frozenset[Need], there: frozenset[Need]) -> Iterator[str]:
    """Yields why a case with *needs* cannot be tried where only *there* is."""
    yield from (need.value for need in Need if need in needs and need not in there)
