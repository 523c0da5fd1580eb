"""Checks outcomes against the endpoint that they are about, and fills in what the sender left to the router."""

import time
from collections.abc import Sequence

from rendezvous_proto.errors import InvalidRequestError, TooLargeError, shown
from rendezvous_proto.nearest import nearest_name
from rendezvous_proto.postbox import check_name
from rendezvous_proto.v1 import Outcome, OutcomeKind

from rendezvous_router.endpoint import Endpoint
from rendezvous_router.feedback.fitting import choose_column, fit_column, fit_number, value_problem

__all__ = ["MOST_OUTCOMES", "OutcomeChecker", "Wrong", "check_count", "refusal_of"]

MOST_OUTCOMES = 10_000
"""Outcomes of one call."""
MOST_NAMED = 10
"""Wrong outcomes that a refusal names; it counts all."""
KEY_NAME_CHARACTERS = 256
KEY_VALUE_CHARACTERS = 1024
TEXT_CHARACTERS = 4096
SOURCE_CHARACTERS = 128
EARLIEST_US = 315_532_800_000_000
"""1980-01-01: a time before it is one in seconds or milliseconds."""
AHEAD_US = 86_400_000_000
"""How far a sender's clock may be ahead, one day: what is known in the far future could never be corrected."""
_REASON_CHARACTERS = 240

Wrong = tuple[int, str]
"""Place of an outcome in its call, and what is wrong with it."""


class OutcomeChecker:
    """Checks the outcomes of one call, which have ids.

    Args:
        endpoint: what they are about.
        now_us: when the router takes them, microseconds since 1970-01-01 UTC; None: now.
    """

    def __init__(self, endpoint: Endpoint, now_us: int | None = None) -> None:
        self.now_us = time.time_ns() // 1000 if now_us is None else now_us
        self._endpoint = endpoint.name
        self._ids: set[str] = set()
        self._columns = list(endpoint.info.signature.outputs)
        self._by_name = {column.name: column for column in self._columns}

    def complete(self, outcome: Outcome) -> str:
        """Fills in time, output and the value's form, in place; returns what is wrong, empty: nothing."""
        if outcome.feedback_id in self._ids:
            return f"feedback_id {shown(outcome.feedback_id)!r}: is there twice; an outcome of its own has its own id"
        self._ids.add(outcome.feedback_id)
        problem = self._complete_head(outcome) or value_problem(outcome, TEXT_CHARACTERS)
        if problem:
            return problem
        if outcome.kind == OutcomeKind.OUTCOME_KIND_TRUTH:
            return self._complete_truth(outcome)
        if outcome.output and (problem := self._output_problem(outcome.output)):
            return problem
        return fit_number(outcome) if outcome.kind == OutcomeKind.OUTCOME_KIND_REWARD else ""

    def _complete_head(self, outcome: Outcome) -> str:
        try:
            check_name("feedback_id", outcome.feedback_id)
            problem = _target_problem(outcome)
        except InvalidRequestError as error:
            return error.message
        if problem:
            return problem
        if outcome.kind not in _KINDS:
            return f"kind {outcome.kind}: must be truth, reward or verdict"
        if outcome.HasField("row") and outcome.row < 0:
            return f"row {outcome.row}: rows count from 0; leave it out for all rows"
        if len(outcome.source) > SOURCE_CHARACTERS:
            return f"source of {len(outcome.source)} characters: the limit is {SOURCE_CHARACTERS}"
        return self._complete_time(outcome)

    def _complete_time(self, outcome: Outcome) -> str:
        at = outcome.observed_unix_us
        if at == 0:
            outcome.observed_unix_us = self.now_us
        elif not EARLIEST_US <= at <= self.now_us + AHEAD_US:
            return (
                f"observed_unix_us {at}: must be microseconds since 1970 (UTC), from 1980 to one day from now "
                f"(now: {self.now_us})"
            )
        return ""

    def _complete_truth(self, outcome: Outcome) -> str:
        if outcome.output:
            return self._output_problem(outcome.output) or fit_column(outcome, self._by_name[outcome.output])
        column = choose_column(outcome, self._columns)
        if column is None:
            known = ", ".join(shown(name) for name in self._by_name)
            return f"value: fits none of the outputs of endpoint {self._endpoint} ({known}): send a number"
        outcome.output = column.name
        return fit_column(outcome, column)

    def _output_problem(self, name: str) -> str:
        if name in self._by_name:
            return ""
        near = nearest_name(name, self._by_name)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(shown(each) for each in self._by_name)}"
        return f"output {shown(name)!r}: endpoint {self._endpoint} has none of that name, {hint}"


_KINDS = frozenset((OutcomeKind.OUTCOME_KIND_TRUTH, OutcomeKind.OUTCOME_KIND_REWARD, OutcomeKind.OUTCOME_KIND_VERDICT))


def check_count(count: int) -> None:
    """Checks how many outcomes a call has.

    Raises:
        InvalidRequestError: none.
        TooLargeError: more than `MOST_OUTCOMES`.
    """
    if not count:
        raise InvalidRequestError("outcomes: there are none: send at least one", {"limit": 1, "actual": 0})
    if count > MOST_OUTCOMES:
        raise TooLargeError(
            f"feedback of {count} outcomes: the limit of a call is {MOST_OUTCOMES}; send several calls",
            {"limit": MOST_OUTCOMES, "actual": count},
        )


def refusal_of(wrong: Sequence[Wrong], count: int) -> InvalidRequestError:
    """Returns the error for a call of *count* outcomes of which some are wrong: nothing of it is kept.

    Its attributes: `wrong`, how many; `outcome.<i>`, what is wrong with the one at place i, for the first ones.
    """
    first = wrong[:MOST_NAMED]
    reasons = "; ".join(f"outcomes[{index}]: {reason}" for index, reason in first[:3])
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return InvalidRequestError(
        f"{len(wrong)} of {count} outcomes are wrong, and none was kept: {reasons}{more}",
        {"wrong": len(wrong), **{f"outcome.{index}": reason[:_REASON_CHARACTERS] for index, reason in first}},
    )


def _target_problem(outcome: Outcome) -> str:
    target = outcome.WhichOneof("target")
    if target is None:
        return "target: there is none: give a request_id, or a key of the request's context"
    if target == "request_id":
        check_name("request_id", outcome.request_id)
        return ""
    for what, text, most in (
        ("key.name", outcome.key.name, KEY_NAME_CHARACTERS),
        ("key.value", outcome.key.value, KEY_VALUE_CHARACTERS),
    ):
        if not 0 < len(text) <= most:
            return f"{what} of {len(text)} characters: must have 1 to {most}"
    return ""
