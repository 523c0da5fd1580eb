"""What a rule is: the small protocol that every `take` implements, built in or plugged in."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from rendezvous.answers import Answer, Arrival

if TYPE_CHECKING:
    from rendezvous._structs import EndpointSpec, StepSpec


class Outcome(Struct, frozen=True):
    """A rule succeeded."""

    answer: Answer
    """What is answered."""
    models: tuple[str, ...]
    """Models whose scores make up the answer, the one that gave most of it first."""
    reason: str
    """Why, for people."""


class Failed(Struct, frozen=True):
    """A rule cannot succeed, whatever else arrives by the step's end."""

    reason: str
    """Why, for people."""


class Case(Protocol):
    """What a rule sees of a request. A `Mailbox` is one."""

    @property
    def request_id(self) -> str:
        """The request."""

    @property
    def rows(self) -> int:
        """Its number of rows."""

    @property
    def context(self) -> Mapping[str, str]:
        """The client's context."""

    @property
    def arrivals(self) -> Mapping[str, Arrival]:
        """Scores by model, in the order of arrival; all arrived by the step's end."""

    def column(self, model: str, name: str) -> Sequence[Any]:
        """One output column of a model that answered validly; None marks missing. Do not change it."""


class Rule(Protocol):
    """Judges a case: stateless, deterministic, and a function of the case alone.

    Called after each arrival and once more, with `closed`, when the step ends. The duties:

    * Give an `Outcome` only if no further arrival could change it (or if `closed`).
    * Give `Failed` as soon as nothing that may still arrive can help.
    * With `closed`, give one of the two; None counts as failed.
    """

    def judge(self, case: Case, closed: bool, /) -> Outcome | Failed | None:
        """Judge; None: not known yet."""


class RuleFactory(Protocol):
    """What an entry point of the group `rendezvous.policies` names; the entry point's name is the `take`."""

    def __call__(self, step: "StepSpec", spec: "EndpointSpec", /) -> Rule:
        """Make the rule of one step.

        Raises:
            ValueError: The step does not suit the rule; the message becomes the specification's error.
        """
