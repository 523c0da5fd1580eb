"""What must hold in the steps of a policy."""

import math
from collections.abc import Mapping

from rendezvous._durations import parse_duration
from rendezvous._problems import Problems, nearest
from rendezvous._structs import EndpointSpec, StepSpec
from rendezvous.rule import RuleFactory

# Which fields each built-in rule reads, beside `take` and `until`.
STEP_FIELDS: Mapping[str, frozenset[str]] = {
    "best": frozenset({"of"}),
    "first": frozenset({"of"}),
    "majority": frozenset({"of", "on", "quorum"}),
    "mean": frozenset({"of", "on", "quorum"}),
    "median": frozenset({"of", "on", "quorum"}),
    "weighted": frozenset({"of", "on", "quorum", "weights"}),
    "split": frozenset({"shares", "by"}),
}
_PLUGIN_FIELDS = frozenset({"of", "on", "quorum", "by", "shares", "weights", "options"})
_OPTIONAL_FIELDS = ("of", "on", "quorum", "shares", "by", "weights", "options")
SHARES_TOLERANCE = 1e-6


def check_steps(
    spec: EndpointSpec, deadline_s: float | None, rules: Mapping[str, RuleFactory], problems: Problems
) -> None:
    """Note everything wrong in `policy.steps`; `deadline_s` is None when the deadline itself is wrong."""
    if not spec.policy.steps:
        problems.add("policy.steps", "empty; give at least one step, or leave it out for [{take: best}]")
    latest: tuple[float, str] = (0.0, "0s")
    for i, step in enumerate(spec.policy.steps):
        path = f"policy.steps[{i}]"
        latest = _check_until(f"{path}.until", step, deadline_s, latest, problems)
        _StepCheck(spec, step, path, problems).run(rules)


def _check_until(
    path: str, step: StepSpec, deadline_s: float | None, latest: tuple[float, str], problems: Problems
) -> tuple[float, str]:
    """Note a wrong `until`; returns the latest end so far as seconds and text."""
    if step.until is None:
        return (deadline_s if deadline_s is not None else math.inf, "the deadline")
    try:
        until_s = parse_duration(step.until)
    except ValueError as error:
        problems.add(path, str(error))
        return latest
    if until_s <= 0:
        problems.add(path, f"{step.until} is not above 0s")
    elif deadline_s is not None and until_s > deadline_s:
        problems.add(path, f"{step.until} is after the deadline; it counts from acceptance, end it by then")
    elif until_s < latest[0]:
        problems.add(path, f"{step.until} is before the end of the step before it, {latest[1]}; ends must not fall")
    return max(latest, (until_s, step.until), key=lambda end: end[0])


class _StepCheck:
    """Checks one step against the specification around it."""

    def __init__(self, spec: EndpointSpec, step: StepSpec, path: str, problems: Problems) -> None:
        self.spec = spec
        self.step = step
        self.path = path
        self.problems = problems

    def run(self, rules: Mapping[str, RuleFactory]) -> None:
        take = self.step.take
        if take not in STEP_FIELDS and take not in rules:
            self._add("take", f"unknown rule {take!r}{nearest(take, [*STEP_FIELDS, *rules])}")
            return
        before = len(self.problems.found)
        fields = STEP_FIELDS.get(take, _PLUGIN_FIELDS)
        for name in _OPTIONAL_FIELDS:
            if getattr(self.step, name) is None:
                continue
            if name in fields:
                getattr(self, f"_check_{name}", lambda: None)()
            else:
                known = ", ".join(sorted({"take", "until", *fields}))
                self._add(name, f"rule {take!r} does not take it; it takes {known}")
        self._check_needs(take)
        if take not in STEP_FIELDS and len(self.problems.found) == before:
            self._check_plugin(rules)

    def _check_needs(self, take: str) -> None:
        """Note what the rule needs and the step does not give."""
        if take == "majority" and self.step.on is None:
            self._add("on", "missing; majority needs the output column that is voted on")
        if take == "split" and self.step.shares is None:
            self._add("shares", "missing; split needs the share of each model")
        if take != "split" and self.step.of is None and not self.spec.eligible_models():
            self._add("of", "missing, and there is no champion or challenger to default to")
        no_floats = not any(column.is_floating for column in self.spec.outputs)
        if take in ("mean", "median") and self.step.on is None and no_floats:
            self._add("on", f"missing, and no output column is floating; {take} needs numeric columns")

    def _check_of(self) -> None:
        names = self.step.of or []
        if not names:
            self._add("of", "empty; name at least one model, or leave it out for champion and challengers")
        for i, name in enumerate(names):
            self._check_model(f"of[{i}]", name)
            if names.index(name) != i:
                self._add(f"of[{i}]", f"model {name!r} is named twice")

    def _check_model(self, path: str, name: str) -> None:
        if name not in self.spec.models:
            self._add(path, f"unknown model {name!r}{nearest(name, self.spec.models)}")
            return
        role = self.spec.models[name].role
        if role == "shadow":
            self._add(path, f"model {name!r} is a shadow: scored, never served; make it a challenger to serve it")
        elif role == "decoy":
            self._add(path, f"model {name!r} is a decoy: it archives the input and never scores")

    def _check_on(self) -> None:
        columns = {column.name: column for column in self.spec.outputs}
        on = self.step.on
        names = [on] if isinstance(on, str) else list(on or [])
        if not names:
            self._add("on", "empty; name at least one output column, or leave it out")
        for i, name in enumerate(names):
            path = "on" if isinstance(on, str) else f"on[{i}]"
            if name not in columns:
                self._add(path, f"not an output column: {name!r}{nearest(name, columns)}")
            elif names.index(name) != i:
                self._add(path, f"column {name!r} is named twice")
            elif self._needs_numbers(names) and not columns[name].is_numeric:
                self._add(path, f"column {name!r} is {columns[name].type}; {self.step.take} needs a numeric column")
            elif self._is_vote(names) and columns[name].shape:
                self._add(path, f"column {name!r} has shape {columns[name].shape}; a vote needs a scalar column")
        if self.step.take == "majority" and len(names) > 1:
            self._add("on", f"majority votes on one column, not {len(names)}")

    def _needs_numbers(self, names: list[str]) -> bool:
        return self.step.take in ("mean", "median") or (self.step.take == "weighted" and len(names) > 1)

    def _is_vote(self, names: list[str]) -> bool:
        if self.step.take == "weighted" and len(names) == 1:
            return not any(column.is_numeric for column in self.spec.outputs if column.name == names[0])
        return self.step.take == "majority"

    def _check_quorum(self) -> None:
        most = len(self.step.of if self.step.of is not None else self.spec.eligible_models())
        quorum = self.step.quorum
        if quorum is not None and not 1 <= quorum <= most:
            self._add("quorum", f"{quorum} is not between 1 and {most}, the number of models that the step asks")

    def _check_shares(self) -> None:
        shares = self.step.shares or {}
        for name, share in shares.items():
            self._check_model(f"shares.{name}", name)
            if not 0 <= share <= 1:
                self._add(f"shares.{name}", f"{share:g} is not between 0 and 1")
        total = math.fsum(shares.values())
        if not abs(total - 1) <= SHARES_TOLERANCE:
            self._add("shares", f"sum to {total:g}, not to 1")

    def _check_by(self) -> None:
        if not self.step.by:
            self._add("by", "empty; name a key of the request's context, or leave it out to split by request id")

    def _check_weights(self) -> None:
        asked = self.step.of if self.step.of is not None else self.spec.eligible_models()
        for name, weight in (self.step.weights or {}).items():
            if name not in asked:
                self._add(f"weights.{name}", f"not a model of this step: {name!r}{nearest(name, asked)}")
            if not (weight > 0 and math.isfinite(weight)):
                self._add(f"weights.{name}", f"{weight:g} is not above 0 and finite; leave the model out of `of`")

    def _check_plugin(self, rules: Mapping[str, RuleFactory]) -> None:
        try:
            rules[self.step.take](self.step, self.spec)
        except ImportError as error:
            self._add("take", f"plug-in {self.step.take!r} cannot be loaded: {error}")
        except ValueError as error:
            self.problems.add(self.path, f"rule {self.step.take!r}: {error}")

    def _add(self, field: str, message: str) -> None:
        self.problems.add(f"{self.path}.{field}", message)
