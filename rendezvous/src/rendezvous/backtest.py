"""Backtest: what a policy would have answered to recorded requests, decided by the code that decides live ones.

No I/O: recorded requests come in, verdicts go out; `BacktestSummary` adds them up in constant memory.
Where the record tells a score's arrival exactly (`RecordedArrival.is_exact`), the policy under which a request was
decided gives the same decision again, to the bit and to the nanosecond. Source: ADR 0026.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from rendezvous._structs import EndpointSpec
from rendezvous.answers import Arrival, Columns, Decision, Merged, NoAnswer, Otherwise, Picked, PickedRows, Score, Table
from rendezvous.policy import ForceError, Policy, compile_policy
from rendezvous.replay import replay
from rendezvous.rule import RuleFactory

__all__ = [
    "AnswerTally",
    "BacktestSummary",
    "RecordedArrival",
    "RecordedDecision",
    "RecordedRequest",
    "Trial",
    "Verdict",
    "same_values",
]

REFUSED = "refused"
"""Rule of a request that the policy's router would have refused: it forces a model that the policy cannot serve."""
OUTSIDE = "enrichers."
"""Beginning of the rules that are none of the policy's: it could not be put to the models."""
NO_ANSWER = "NO_ANSWER"
"""Error of a request that its policy could not answer."""
FALLBACKS = ("canary", "otherwise")
"""Rules that answer when all of the policy's own steps have failed."""


class RecordedArrival(Struct, frozen=True):
    """A recorded score and when it came."""

    score: Score
    """What came."""
    after_ns: int
    """Nanoseconds from the request's acceptance."""
    is_exact: bool = True
    """Whether the router noted that moment; False: derived from when the broker stored the score."""


class RecordedDecision(Struct, frozen=True):
    """What was answered."""

    rule: str
    """What decided."""
    models: tuple[str, ...]
    """Models whose scores made up the answer."""
    decided_after_ns: int
    """Nanoseconds from acceptance to the decision."""
    due_after_ns: int
    """Nanoseconds from acceptance to what settled it; the decision came later where the router woke late."""
    columns: Columns | None
    """The answer; None: an error, or not kept."""
    error: str = ""
    """Name of the error that was answered; empty: none."""

    @property
    def is_refused(self) -> bool:
        """Whether it was decided, and then refused for what is none of the policy's doing, as any other would be."""
        return self.error not in ("", NO_ANSWER)


class RecordedRequest(Struct, frozen=True):
    """One request as the record has it."""

    request_id: str
    """The request."""
    rows: int
    """Its number of rows."""
    budget_ns: int
    """Nanoseconds from acceptance to its deadline: the policy's or the client's."""
    arrivals: tuple[RecordedArrival, ...]
    """Scores in the order in which they came, of each model the first; late ones included."""
    decided: RecordedDecision
    """What was answered."""
    context: Mapping[str, str] = {}
    """The client's context."""
    force: str | None = None
    """The one model that was to count."""
    deadline_s: float | None = None
    """The deadline of the policy in force, seconds; None: unknown."""


class Verdict(Struct, frozen=True):
    """What a policy would have answered to one recorded request."""

    rule: str
    """What decides."""
    models: tuple[str, ...]
    """Models whose scores make up the answer."""
    decided_after_ns: int
    """Nanoseconds from acceptance to the decision."""
    columns: Columns | None
    """The answer; None: an error."""
    reason: str
    """Why, for people."""
    is_changed: bool
    """Whether the answer's values differ, or an error took the place of an answer or the other way round."""
    derived: tuple[str, ...] = ()
    """Models in the answer whose moment of arrival is derived."""
    outputs: tuple[str, ...] = ()
    """Names of the output columns."""


class Trial:
    """Decides recorded requests under one policy.

    Args:
        spec: The endpoint with the policy to be tried.
        margin_s: What a router keeps back from a deadline, at most a tenth of it.
        rules: Plug-in rules, as for `compile_policy`.

    Raises:
        KeyError, ImportError, ValueError: As of `compile_policy`.
    """

    def __init__(
        self, spec: EndpointSpec, *, margin_s: float = 0.005, rules: Mapping[str, RuleFactory] | None = None
    ) -> None:
        self.spec = spec
        self._policy: Policy = compile_policy(spec, rules=rules)
        self._types = {column.name: (column.type, bool(column.shape)) for column in spec.outputs}
        self._margin_s = margin_s
        self._full_ns = budget_ns(self._policy.deadline_s, margin_s)

    def decide(self, request: RecordedRequest) -> Verdict:
        """What this policy would have answered to *request*."""
        was = request.decided
        if was.rule.startswith(OUTSIDE):
            return Verdict(was.rule, was.models, was.decided_after_ns, None, "", is_changed=False)
        try:
            decision = replay(
                self._policy,
                [Arrival(arrival.score, arrival.after_ns / 1e9) for arrival in request.arrivals],
                request_id=request.request_id,
                rows=request.rows,
                context=request.context,
                deadline=self._budget_ns(request) / 1e9,
                force=request.force,
            )
        except ForceError as error:
            return Verdict(REFUSED, (), 0, None, str(error), is_changed=was.error != NO_ANSWER)
        columns = self._answer(request, decision)
        due_ns = round(decision.decided_at * 1e9)
        # The same moment settles it as did then, so the router would have come to it as late as it did.
        late_ns = was.decided_after_ns - was.due_after_ns if due_ns == was.due_after_ns else 0
        return Verdict(
            decision.rule,
            decision.models,
            due_ns + late_ns,
            columns,
            decision.reason,
            is_changed=not self._is_same(columns, was),
            derived=tuple(
                arrival.score.model
                for arrival in request.arrivals
                if not arrival.is_exact and arrival.score.model in decision.models
            ),
            outputs=tuple(self._types),
        )

    def _budget_ns(self, request: RecordedRequest) -> int:
        """The time it would have had: the client's shorter deadline wins over this policy's, too."""
        before_s, now_s = request.deadline_s, self._policy.deadline_s
        if before_s == now_s:
            return request.budget_ns
        is_clients = before_s is not None and request.budget_ns < budget_ns(before_s, self._margin_s)
        return min(self._full_ns, request.budget_ns) if is_clients else self._full_ns

    def _answer(self, request: RecordedRequest, decision: Decision) -> Columns | None:
        answer = decision.answer
        if isinstance(answer, NoAnswer):
            return None
        by_model = {arrival.score.model: arrival.score.columns for arrival in request.arrivals}
        if isinstance(answer, Picked):
            return by_model[answer.model]
        rows = range(request.rows)
        if isinstance(answer, PickedRows):
            return Table({name: _pick(by_model, answer.models, name) for name in self._types})
        if isinstance(answer, Otherwise):
            return Table({name: self._stored(name, [answer.values.get(name) for _ in rows]) for name in self._types})
        assert isinstance(answer, Merged), "the union's last"
        return Table(
            {
                name: self._stored(name, answer.columns[name])
                if name in answer.columns
                else _pick(by_model, answer.rest, name)
                for name in self._types
            }
        )

    def _stored(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        """Values as a frame gives them back: computed in double precision, kept in the column's."""
        kind = _NARROW.get(self._types[name][0])
        return values if kind is None else [_narrow(value, kind) for value in values]

    def _is_same(self, columns: Columns | None, was: RecordedDecision) -> bool:
        if was.is_refused or (was.columns is None and not was.error):
            return True  # no other answer, or none that could be compared
        if columns is None or was.columns is None:
            return columns is None and was.columns is None
        before = was.columns
        return all(same_values(columns.column(name), before.column(name)) for name in self._types)


def budget_ns(deadline_s: float, margin_s: float) -> int:
    """Nanoseconds that a request without a deadline of its own has under a policy's."""
    return round((deadline_s - min(margin_s, deadline_s / 10)) * 1e9)


def same_values(values: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two columns are the same to the bit: NaN is NaN, 0.0 is not -0.0, 1 is not 1.0."""
    # Nearly all columns are plainly unequal or hold no zero; comparing texts is right for all, and slower.
    if values == others and not (values and isinstance(values[0], list | tuple)) and 0.0 not in values:
        return True
    return repr(list(values)) == repr(list(others))


def _pick(by_model: Mapping[str, Columns | None], models: Sequence[str], name: str) -> list[Any]:
    columns = {model: by_model[model] for model in set(models)}
    values = {model: each.column(name) for model, each in columns.items() if each is not None}
    return [values[model][row] for row, model in enumerate(models)]


_NARROW = {"FP32": struct.Struct("<f"), "FP16": struct.Struct("<e")}


def _narrow(value: Any, kind: struct.Struct) -> Any:
    if isinstance(value, list | tuple):
        return [_narrow(each, kind) for each in value]
    return None if value is None else kind.unpack(kind.pack(value))[0]


class AnswerTally:
    """Adds up what was, or would have been, answered; constant memory."""

    def __init__(self) -> None:
        self.requests = 0
        """Requests."""
        self.rules: Counter[str] = Counter()
        """Requests by rule."""
        self.models: Counter[str] = Counter()
        """Requests by the model that gave most of the answer; empty: none did."""
        self.errors = 0
        """Requests that are answered with an error."""
        self._after_us: Counter[int] = Counter()

    def add(self, rule: str, models: Sequence[str], decided_after_ns: int, *, is_error: bool) -> None:
        """Count one request."""
        self.requests += 1
        self.rules[rule] += 1
        self.models[models[0] if models else ""] += 1
        self.errors += is_error
        self._after_us[_three_digits(round(decided_after_ns / 1000))] += 1

    @property
    def fallbacks(self) -> dict[str, int]:
        """Requests that no step of the policy decided: answered by the canary, by `otherwise`, with an error."""
        return {**{rule: self.rules[rule] for rule in FALLBACKS}, "error": self.errors}

    def quantile_us(self, share: float) -> int:
        """Microseconds within which a share of the requests was decided, to three digits; 0 without requests."""
        wanted, seen = share * self.requests, 0
        for after_us in sorted(self._after_us):
            seen += self._after_us[after_us]
            if seen >= wanted:
                return after_us
        return 0


def _three_digits(number: int) -> int:
    unit: int = 10 ** max(0, len(str(number)) - 3)
    return int(round(number / unit) * unit)


class BacktestSummary:
    """Adds up recorded decisions and verdicts on the same requests, side by side.

    Args:
        samples: How many changed answers are kept as examples, spread evenly over all.
    """

    def __init__(self, samples: int = 10) -> None:
        self.recorded = AnswerTally()
        """What did happen."""
        self.tried = AnswerTally()
        """What would have."""
        self.changed = 0
        """Requests with another answer."""
        self.moved = 0
        """Requests that another rule or other models decide."""
        self.derived = 0
        """Requests whose answer holds a score with a derived moment of arrival."""
        self.seen: Counter[str] = Counter()
        """Requests by model that scored them, or failed."""
        self.changes: Counter[tuple[str, str]] = Counter()
        """Changed answers by who gave most of them: then, now."""
        self.samples: list[tuple[RecordedRequest, Verdict]] = []
        """Examples of changed answers."""
        self._most_samples = samples
        self._sample_every = 1

    def add(self, request: RecordedRequest, verdict: Verdict) -> None:
        """Count one request and the verdict on it."""
        was = request.decided
        self.recorded.add(was.rule, was.models, was.decided_after_ns, is_error=bool(was.error))
        self.tried.add(
            verdict.rule, verdict.models, verdict.decided_after_ns, is_error=verdict.columns is None or was.is_refused
        )
        self.moved += verdict.rule != was.rule or verdict.models != was.models
        self.derived += bool(verdict.derived)
        self.seen.update([arrival.score.model for arrival in request.arrivals])
        if verdict.is_changed:
            self.changed += 1
            self.changes[_giver(was.rule, was.models), _giver(verdict.rule, verdict.models)] += 1
            self._sample(request, verdict)

    def _sample(self, request: RecordedRequest, verdict: Verdict) -> None:
        if (self.changed - 1) % self._sample_every or not self._most_samples:
            return
        if len(self.samples) == self._most_samples:
            # Every second one goes, and from now on only half as many come: they stay evenly spread.
            self.samples = self.samples[::2]
            self._sample_every *= 2
            if (self.changed - 1) % self._sample_every:
                return
        self.samples.append((request, verdict))

    def never_scored(self, spec: EndpointSpec) -> list[str]:
        """Models of *spec* that score, and of which the record has no score of these requests."""
        return [name for name, model in spec.models.items() if model.role != "decoy" and not self.seen[name]]


def _giver(rule: str, models: Sequence[str]) -> str:
    return models[0] if models else rule


def run(trial: Trial, requests: Iterable[RecordedRequest], summary: BacktestSummary) -> None:
    """Decide all *requests* anew and add them up."""
    for request in requests:
        summary.add(request, trial.decide(request))
