"""Policies: the steps of a specification, compiled into rules that judge a mailbox."""

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from rendezvous._merging import (
    Combine,
    Merge,
    exact_weights,
    mean_floats,
    mean_integers,
    median_floats,
    median_integers,
    plurality,
)
from rendezvous._plugins import InstalledRules
from rendezvous._preference import Best, First, Split
from rendezvous._structs import ColumnSpec, EndpointSpec, StepSpec
from rendezvous._values import frame_value
from rendezvous._voting import Vote
from rendezvous.answers import Answer, Merged, NoAnswer, Otherwise, Picked, PickedRows
from rendezvous.rule import Case, Failed, Outcome, Rule, RuleFactory

__all__ = [
    "Case",
    "Failed",
    "ForceError",
    "Outcome",
    "Policy",
    "Rule",
    "RuleFactory",
    "Step",
    "compile_policy",
]


class ForceError(LookupError):
    """A model was forced that cannot be.

    Attributes:
        model: The model's name.
    """

    def __init__(self, model: str, message: str) -> None:
        self.model = model
        super().__init__(message)


class Step(Struct, frozen=True):
    """One compiled step."""

    name: str
    """Name in decisions: `steps[0].best`, `canary`, `forced`."""
    until_s: float
    """End, seconds from acceptance; infinity: the deadline."""
    rule: Rule
    """What judges."""


class Policy:
    """A compiled policy; immutable, shared by all mailboxes of its endpoint.

    Attributes:
        endpoint: Name of the endpoint.
        deadline_s: The policy's deadline, seconds from acceptance; a client's shorter one wins.
        steps: The steps in order, an implicit `canary` step at the end if the endpoint has a canary.
        roles: Role by model, decoys included.
        scoring: Models that score: all but the decoys.
        last_rule: `otherwise` or `none`, what decides when every step has failed.
        last_outcome: What that answers.
    """

    __slots__ = (
        "_forced",
        "deadline_s",
        "endpoint",
        "last_outcome",
        "last_rule",
        "roles",
        "scoring",
        "steps",
    )

    def __init__(self, spec: EndpointSpec, rules: Mapping[str, RuleFactory]) -> None:
        self.endpoint = spec.endpoint
        self.deadline_s = spec.policy.deadline_s
        self.roles = {name: model.role for name, model in spec.models.items()}
        self.scoring = frozenset(name for name, role in self.roles.items() if role != "decoy")
        steps = [compile_step(spec, i, step, rules) for i, step in enumerate(spec.policy.steps)]
        if canaries := spec.models_of("canary"):
            steps.append(Step("canary", math.inf, Best(canaries)))
        self.steps = tuple(steps)
        self.last_rule, self.last_outcome = _compile_otherwise(spec)
        self._forced = {
            name: (Step("forced", math.inf, Best((name,))),)
            for name in spec.models_of("champion", "challenger", "canary")
        }

    def forced_steps(self, model: str) -> tuple[Step, ...]:
        """The steps of a request that forces a model: only that model counts.

        Raises:
            ForceError: The endpoint has no such model, or it is a shadow or a decoy, which are never served.
        """
        steps = self._forced.get(model)
        if steps is not None:
            return steps
        if model in self.roles:
            what = f"model {model!r} of endpoint {self.endpoint!r} is a {self.roles[model]}, never served"
        else:
            what = f"endpoint {self.endpoint!r} has no model {model!r}"
        raise ForceError(model, f"{what}; it may be one of: {', '.join(self._forced) or 'none'}")


def compile_policy(spec: EndpointSpec, *, rules: Mapping[str, RuleFactory] | None = None) -> Policy:
    """Compile the policy of a specification.

    Args:
        spec: A specification as `parse_spec` gives it.
        rules: Plug-in rules by name; None: those installed under the entry point group `rendezvous.policies`.

    Returns:
        The policy, to be shared by the endpoint's mailboxes.

    Raises:
        KeyError: A step takes a plug-in that is not installed.
        ImportError: A plug-in cannot be loaded.
        ValueError: A plug-in refuses its step.
    """
    return Policy(spec, InstalledRules() if rules is None else rules)


def compile_step(spec: EndpointSpec, index: int, step: StepSpec, rules: Mapping[str, RuleFactory]) -> Step:
    """Compile one step; arguments and errors as in `compile_policy`."""
    until_s = math.inf if step.until_s is None else step.until_s
    return Step(f"steps[{index}].{step.take}", until_s, _compile_rule(spec, step, rules))


def _compile_rule(spec: EndpointSpec, step: StepSpec, rules: Mapping[str, RuleFactory]) -> Rule:
    of = step.of if step.of is not None else spec.eligible_models()
    match step.take:
        case "best":
            return Best(of)
        case "first":
            return First(of)
        case "split":
            return Split(spec.endpoint, step.shares or {}, step.by)
        case "majority":
            quorum = step.quorum or len(of) // 2 + 1
            return Vote(of, on=str(_on(step)[0]), quorum=quorum, weights=[1] * len(of))
        case "mean" | "median" | "weighted":
            return _compile_merge(spec, step, of)
        case plugin:
            return Guarded(rules[plugin](step, spec), frozenset(of) | frozenset(step.shares or {}))


def _on(step: StepSpec) -> list[str]:
    return [step.on] if isinstance(step.on, str) else list(step.on or [])


def _compile_merge(spec: EndpointSpec, step: StepSpec, of: Sequence[str]) -> Rule:
    own = step.weights or {}
    weights = exact_weights([own.get(name, spec.models[name].weight) for name in of])
    on = _on(step)
    columns = {column.name: column for column in spec.outputs}
    if step.take == "weighted" and len(on) == 1 and not columns[on[0]].is_numeric:
        return Vote(of, on=on[0], quorum=step.quorum or 1, weights=weights)
    numeric = on or [column.name for column in spec.outputs if column.is_floating]
    combines = [(column, _combine_of(step.take, column, column.name in numeric)) for column in spec.outputs]
    return Merge(of, name=step.take, columns=combines, quorum=step.quorum or 1, weights=weights)


def _combine_of(take: str, column: ColumnSpec, is_merged: bool) -> Combine:
    if not is_merged:
        return plurality
    if take == "median":
        return median_floats if column.is_floating else median_integers
    return mean_floats if column.is_floating else mean_integers


def _compile_otherwise(spec: EndpointSpec) -> tuple[str, Outcome]:
    values = spec.policy.otherwise
    if isinstance(values, str):
        return "none", Outcome(NoAnswer(), (), "no step succeeded, and `otherwise` is error")
    answer = Otherwise({column.name: frame_value(column, values[column.name]) for column in spec.outputs})
    return "otherwise", Outcome(answer, (), "no step succeeded")


class Guarded:
    """A plug-in rule that may only serve models that its step names, once they have answered validly."""

    __slots__ = ("_eligible", "_rule")

    def __init__(self, rule: Rule, eligible: frozenset[str]) -> None:
        self._rule = rule
        self._eligible = eligible

    def judge(self, case: Case, closed: bool) -> Outcome | Failed | None:
        """See `Rule.judge`."""
        outcome = self._rule.judge(case, closed)
        if outcome is None or isinstance(outcome, Failed):
            return outcome
        if not isinstance(outcome, Outcome):
            return Failed(f"the rule gave {outcome!r}, which is no outcome")
        for model in {*outcome.models, *_models_in(outcome.answer)}:
            arrival = case.arrivals.get(model)
            if model not in self._eligible or arrival is None or arrival.score.error is not None:
                return Failed(f"the rule chose {model!r}, which has no valid score that this step may serve")
        if any(count != case.rows for count in _row_counts(outcome.answer)):
            return Failed(f"the rule answered with another number of rows than {case.rows}")
        return outcome


def _models_in(answer: Answer) -> tuple[str, ...]:
    match answer:
        case Picked(model=model):
            return (model,)
        case PickedRows(models=models):
            return models
        case Merged(rest=rest):
            return rest
        case _:
            return ()


def _row_counts(answer: Answer) -> list[int]:
    match answer:
        case PickedRows(models=models):
            return [len(models)]
        case Merged(columns=columns, rest=rest):
            return [*map(len, columns.values()), *([len(rest)] if rest else [])]
        case _:
            return []
