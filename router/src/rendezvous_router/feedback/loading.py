"""Loads the lines of a file into an endpoint: call by call, wrong lines left out and told by their numbers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rendezvous_proto.errors import InvalidRequestError
from rendezvous_sdk import AsyncClient, Outcome

from rendezvous_router.feedback.files import Line

__all__ = ["LoadReport", "load_lines"]

_NAMED = "outcome."


@dataclass(slots=True)
class LoadReport:
    """What came of a file."""

    accepted: int = 0
    """Outcomes that are kept; those that had been loaded before are among them."""
    repeated: int = 0
    """Lines that say what an earlier one says."""
    without_value: int = 0
    """Lines whose value is missing."""
    refused: list[Line] = field(default_factory=list)
    """Lines that are wrong."""
    is_complete: bool = False
    """Whether the file was read to its end."""


async def load_lines(
    client: AsyncClient,
    lines: Iterable[Line],
    report: LoadReport,
    *,
    batch: int,
    most_refused: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Records what the lines say.

    Args:
        client: asks the endpoint.
        lines: of the file.
        report: filled as it goes, so that it is true also where this raises.
        batch: outcomes of one call.
        most_refused: wrong lines after which it ends.
        on_progress: called with the number of lines that are done with.

    Raises:
        RendezvousError: the endpoint cannot be reached, or does not take any of it.
    """
    seen: set[str] = set()
    waiting: list[tuple[Line, Outcome]] = []
    read = 0
    for line in lines:
        read += 1
        outcome = line.outcome
        if outcome is None:
            report.without_value += not line.problem
            report.refused += [line] if line.problem else []
        elif outcome.feedback_id in seen:
            report.repeated += 1
        else:
            seen.add(outcome.feedback_id)
            waiting.append((line, outcome))
        if len(waiting) == batch:
            await _record(client, waiting, report, most_refused)
            waiting = []
            on_progress(read)
            read = 0
        if len(report.refused) > most_refused:
            return
    await _record(client, waiting, report, most_refused)
    on_progress(read)
    report.is_complete = len(report.refused) <= most_refused


async def _record(
    client: AsyncClient, waiting: list[tuple[Line, Outcome]], report: LoadReport, most_refused: int
) -> None:
    """Records a call's worth; leaves out what is refused by name until the rest is taken."""
    while waiting and len(report.refused) <= most_refused:
        try:
            await client.record([outcome for _, outcome in waiting])
        except InvalidRequestError as error:
            reasons = {
                int(name.removeprefix(_NAMED)): reason
                for name, reason in error.attributes.items()
                if name.startswith(_NAMED)
            }
            if not reasons:
                raise
            report.refused += [Line(waiting[index][0].number, problem=reason) for index, reason in reasons.items()]
            waiting = [each for index, each in enumerate(waiting) if index not in reasons]
        else:
            report.accepted += len(waiting)
            return
