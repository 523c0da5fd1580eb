"""What came of a run."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Report", "Result", "Status"]


class Status(StrEnum):
    """What came of one case."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN_FAILURE = "known failure"
    NOT_APPLICABLE = "not applicable"
    NOW_PASSES = "now passes"


BAD = frozenset({Status.FAILED, Status.NOW_PASSES})
"""What fails the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one case."""

    id: str
    """The case."""
    title: str
    """What must hold."""
    group: str
    """Heading."""
    rules: tuple[str, ...]
    """Rules of the protocol."""
    status: Status
    """What came of it."""
    seconds: float = 0.0
    """How long it took."""
    detail: str = ""
    """What went wrong, why it was not applicable, or a word about what was seen."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of a run."""

    target: str
    """What was tried."""
    model: dict[str, str] = field(default_factory=dict)
    """Name, version, language, runtime, SDK and task as the model tells them."""
    results: list[Result] = field(default_factory=list)
    """One for each case, in order."""

    @property
    def is_good(self) -> bool:
        """Whether nothing failed that was not expected to, and nothing passed that was."""
        return not any(result.status in BAD for result in self.results)

    @property
    def tried(self) -> int:
        """How many cases could be tried on the target."""
        return len(self.results) - self.count(Status.NOT_APPLICABLE)

    def count(self, status: Status) -> int:
        """Returns how many cases came out so."""
        return sum(result.status is status for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON knows it."""
        results = [
            {**asdict(result), "rules": list(result.rules), "seconds": round(result.seconds, 3)}
            for result in self.results
        ]
        return {
            "target": self.target,
            "model": self.model,
            "good": self.is_good,
            "tried": self.tried,
            "results": results,
        }
