"""The mailbox: collects the scores of one request and decides, by a policy and a deadline.

No I/O, no clock: the caller brings the time with every call and comes back at `next_wake`.
Times are seconds of any one monotonic clock and must not run backwards.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rendezvous.answers import (
    Answer,
    Arrival,
    Columns,
    Decision,
    Failure,
    Merged,
    NoAnswer,
    Otherwise,
    Picked,
    PickedRows,
    Score,
    Table,
)
from rendezvous.policy import Policy, Step
from rendezvous.rule import Failed, Outcome

__all__ = [
    "Answer",
    "Arrival",
    "Columns",
    "Decision",
    "Failure",
    "Mailbox",
    "Merged",
    "NoAnswer",
    "Otherwise",
    "Picked",
    "PickedRows",
    "Score",
    "Table",
]

# ErrorCode INVALID_OUTPUT of the contract; this package does not import it.
INVALID_OUTPUT = 14


class Mailbox:
    """Collects the scores of one request until a decision is made, and the late ones after it.

    Args:
        policy: The endpoint's compiled policy.
        request_id: The request; scores that name another are refused.
        opened_at: When the request was accepted; the policy's ends count from here.
        deadline: When the answer is due: the policy's deadline or the client's, whichever is earlier.
        rows: The request's number of rows; a score with another number counts as failed.
        context: The client's context, for sticky keys.
        force: Name of the one model that counts; None: the policy's steps.

    Attributes:
        decision: The decision; None until it is made.
        arrivals: Every model's first score, in the order of arrival, late ones included.
        next_wake: When `wake` must be called at the latest; infinity once decided.
        duplicates: Scores ignored because their model had delivered before.
        unknown: Scores ignored because the endpoint has no such scoring model.
        foreign: Scores refused because they name another request.

    Raises:
        ForceError: `force` names no model, or one that is never served.

    Not thread-safe: one mailbox belongs to one event loop.
    """

    __slots__ = (
        "_columns", "_failed_steps", "_index", "_on_time", "_policy", "_steps",
        "arrivals", "context", "deadline", "decision", "duplicates", "foreign",
        "next_wake", "opened_at", "request_id", "rows", "unknown",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        *,
        request_id: str,
        opened_at: float,
        deadline: float,
        rows: int,
        context: Mapping[str, str],
        force: str | None = None,
    ) -> None:
        self._policy = policy
        self.request_id = request_id
        self.opened_at = opened_at
        self.deadline = deadline
        self.rows = rows
        self.context = context
        self.arrivals: dict[str, Arrival] = {}
        self.decision: Decision | None = None
        self.duplicates = self.unknown = self.foreign = 0
        self._index = self._on_time = 0
        self._failed_steps: str = ""
        self._columns: dict[tuple[str, str], Sequence[Any]] | None = None
        steps = self._steps = policy.steps if not force else policy.forced_steps(force)
        end = opened_at + steps[0].until_s
        # min() costs a call, and this runs for every request.
        self.next_wake = end if end < deadline else deadline  # noqa: FURB136 # as said

    def deliver(self, score: Score, now: float) -> Decision | None:
        """Take in a model's score.

        Args:
            score: The score. A second one of a model, one of an unknown model and one that names another
                request change nothing but their counter.
            now: When it arrived.

        Returns:
            The decision, if this call made it; else None. After it, scores are only kept in `arrivals`.
        """
        model = score.model
        arrivals = self.arrivals
        if model in arrivals or model not in self._policy.scoring:
            self._count_ignored(model)
            return None
        if score.request_id is not None and score.request_id != self.request_id:
            self.foreign += 1
            return None
        if score.error is None:
            columns = score.columns
            if columns is None or columns.rows != self.rows:
                score = self._misshapen(score)
        if self.decision is not None:
            arrivals[model] = Arrival(score, now)
            return None
        if now > self.next_wake and self._settle(now, math.nextafter(now, -math.inf)) is not None:
            arrivals[model] = Arrival(score, now)
            return self.decision
        arrivals[model] = Arrival(score, now)
        self._on_time += 1
        return self._settle(now, -math.inf)

    def wake(self, now: float) -> Decision | None:
        """Let time pass: end the steps that are over.

        Args:
            now: The time; calls before `next_wake` are harmless.

        Returns:
            The decision, if this call made it; else None. At the deadline there always is one.
        """
        if self.decision is not None or now < self.next_wake:
            return None
        return self._settle(now, now)

    def close(self, rule: str, reason: str, now: float) -> Decision | None:
        """Decide without an answer, whatever the policy: the request cannot be put to the models.

        Args:
            rule: Who decides: `enrichers.<name>`.
            reason: Why, for people.
            now: The time.

        Returns:
            The decision, or None where one had been made before, which stays.
        """
        if self.decision is not None:
            return None
        return self._decide(rule, Outcome(NoAnswer(), (), reason), now, now)

    def column(self, model: str, name: str) -> Sequence[Any]:
        """One output column of a model that has answered validly, decoded once.

        Raises:
            LookupError: The model has no valid score here.
        """
        if self._columns is None:
            self._columns = {}
        values = self._columns.get((model, name))
        if values is None:
            columns = self.arrivals[model].score.columns
            if columns is None:
                raise LookupError(f"model {model!r} has no valid score in request {self.request_id!r}")
            values = self._columns[model, name] = columns.column(name)
        return values

    @property
    def late(self) -> dict[str, Arrival]:
        """Arrivals after the decision."""
        if self.decision is None:
            return {}
        return dict(list(self.arrivals.items())[self._on_time :])

    @property
    def is_complete(self) -> bool:
        """Whether every model of the endpoint that scores has delivered."""
        return len(self.arrivals) == len(self._policy.scoring)

    def _settle(self, now: float, closed_until: float) -> Decision | None:
        """Judge step after step until one succeeds or is open; steps ending by `closed_until` are closed.

        Each step is judged as of the moments at which an exact clock would have judged it, so that a caller who
        comes late gets the decision that one on time would have got.
        """
        steps = self._steps
        due = now
        closed = self.next_wake <= closed_until
        while True:
            if closed:
                due = self.next_wake
            step = steps[self._index]
            try:
                outcome = step.rule.judge(self, closed)
            except Exception as error:  # noqa: BLE001 # a faulty rule or column must not cost the answer
                outcome = Failed(f"the rule raised {type(error).__name__}: {error}")
            if outcome is None:
                if not closed:
                    closed = self.next_wake <= closed_until
                    if closed:
                        continue
                    return None
                outcome = Failed("the rule gave no outcome at its end")
            if outcome.__class__ is Outcome:
                return self._decide(step.name, outcome, now, due)
            self._failed_steps += f"{step.name}: {outcome.reason}; "
            self._index += 1
            if self._index == len(steps):
                return self._decide(self._policy.last_rule, self._policy.last_outcome, now, due)
            self.next_wake = self._end_of(steps[self._index])
            closed = False

    def _end_of(self, step: Step) -> float:
        end = self.opened_at + step.until_s
        return min(end, self.deadline)

    def _decide(self, rule: str, outcome: Outcome, now: float, due: float) -> Decision:
        reason = self._failed_steps + outcome.reason if self._failed_steps else outcome.reason
        self.next_wake = math.inf
        self._columns = None
        self.decision = Decision(rule, outcome.answer, outcome.models, now, reason, due)
        return self.decision

    def _count_ignored(self, model: str) -> None:
        if model in self.arrivals:
            self.duplicates += 1
        else:
            self.unknown += 1

    def _misshapen(self, score: Score) -> Score:
        found = "no table" if score.columns is None else f"{score.columns.rows} rows"
        message = f"model {score.model!r} answered {found} to a request of {self.rows} rows"
        return Score(score.model, score.version, None, Failure(INVALID_OUTPUT, message), score.request_id)
