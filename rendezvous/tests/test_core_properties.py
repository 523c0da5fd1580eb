"""Properties of mailbox and policies, in virtual time, against a naive reference."""

import math
import statistics
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendezvous.mailbox import (
    Arrival,
    Decision,
    Failure,
    Mailbox,
    Merged,
    NoAnswer,
    Otherwise,
    Picked,
    PickedRows,
    Score,
    Table,
)
from rendezvous.policy import Policy, compile_policy
from rendezvous.replay import replay
from rendezvous.spec import EndpointSpec, StepSpec, parse_spec

MODELS = ("a", "b", "c", "d", "canary", "shadow")
ELIGIBLE = ("a", "b", "c", "d")
DEADLINE_MS = 20
Arrivals = list[Arrival]


def document(steps: list[dict[str, Any]], otherwise: Any, *, canary: bool) -> dict[str, Any]:
    """An endpoint with four eligible models, a shadow and perhaps a canary."""
    roles = dict.fromkeys(MODELS, "challenger") | {"a": "champion", "canary": "canary", "shadow": "shadow"}
    models = {name: {"role": role, "weight": 1 + i / 10} for i, (name, role) in enumerate(roles.items())}
    if not canary:
        del models["canary"]
    return {
        "endpoint": "e",
        "inputs": [],
        "outputs": [
            {"name": "p", "type": "FP64", "missing": True},
            {"name": "n", "type": "INT64"},
            {"name": "label", "type": "STRING", "missing": True},
        ],
        "models": {**models, "archive": {"role": "decoy"}},
        "policy": {"deadline": f"{DEADLINE_MS}ms", "steps": steps, "otherwise": otherwise},
    }


@st.composite
def step_documents(draw: st.DrawFn) -> dict[str, Any]:
    """One step of any rule."""
    take = draw(st.sampled_from(["best", "first", "majority", "mean", "median", "weighted", "vote", "split"]))
    if take == "split":
        return {"take": "split", "shares": {"b": 0.25, "a": 0.5, "c": 0.25}, "by": "customer"}
    of = draw(st.lists(st.sampled_from(ELIGIBLE), min_size=1, max_size=4, unique=True))
    step: dict[str, Any] = {"take": "weighted" if take == "vote" else take, "of": of}
    if take in ("majority", "vote"):
        step["on"] = "label"
    if take in ("mean", "median"):
        step["on"] = draw(st.sampled_from(["p", ["n"], ["p", "n"]]))
    if take not in ("best", "first") and draw(st.booleans()):
        step["quorum"] = draw(st.integers(1, len(of)))
    if step["take"] == "weighted" and draw(st.booleans()):
        step["weights"] = {of[0]: draw(st.sampled_from([0.1, 0.3, 2, 5]))}
    return step


@st.composite
def specs(draw: st.DrawFn) -> EndpointSpec:
    """A specification with one to three steps."""
    steps = draw(st.lists(step_documents(), min_size=1, max_size=3))
    ends = sorted(draw(st.lists(st.integers(1, DEADLINE_MS), min_size=len(steps), max_size=len(steps))))
    for step, end in zip(steps, ends, strict=True):
        step["until"] = f"{end}ms"
    otherwise = draw(st.sampled_from(["error", {"p": 1, "n": 0, "label": "refer"}]))
    return parse_spec(document(steps, otherwise, canary=draw(st.booleans())))


@st.composite
def scores(draw: st.DrawFn, model: str, rows: int) -> Score:
    """A score of a model, valid or failed; few labels, so that ties are common."""
    if draw(st.integers(0, 3)) == 0:
        return Score(model, "1", None, Failure(13, "failed"))
    floats = st.none() | st.sampled_from([0.0, 0.1, 0.25, 0.7, 1.0, 1e308])
    row = st.tuples(floats, st.integers(-3, 3), st.sampled_from(["x", "y", "z", None]))
    p, n, label = zip(*draw(st.lists(row, min_size=rows, max_size=rows)), strict=True)
    return Score(model, "1", Table({"p": p, "n": n, "label": label}))


@st.composite
def cases(draw: st.DrawFn) -> tuple[EndpointSpec, Arrivals, int]:
    """A specification, what arrives (in order, some after the deadline), and the number of rows."""
    spec, rows = draw(specs()), draw(st.integers(1, 3))
    names = draw(st.permutations([name for name in spec.models if name != "archive"]))
    names = names[: draw(st.integers(0, len(names)))]
    times = sorted(draw(st.lists(st.integers(0, DEADLINE_MS + 3), min_size=len(names), max_size=len(names))))
    return spec, [Arrival(draw(scores(n, rows)), t / 1000) for n, t in zip(names, times, strict=True)], rows


# --- the reference: every step at its end, over all that had arrived by then ---


def reference(spec: EndpointSpec, arrivals: Arrivals, rows: int) -> tuple[str, Any, float]:
    """Rule, comparable answer and the latest moment of the decision, evaluated without any hurry."""
    for i, step in enumerate(spec.policy.steps):
        end = step.until_s if step.until_s is not None else spec.policy.deadline_s
        seen = {a.score.model: a.score for a in arrivals if a.at <= end}
        valid = {name: score for name, score in seen.items() if score.error is None}
        answer = reference_step(spec, step, valid, rows)
        if answer is not None:
            return f"steps[{i}].{step.take}", answer, end
    due = spec.policy.deadline_s
    if any(a.score.model == "canary" and a.score.error is None and a.at <= due for a in arrivals):
        return "canary", "canary", due
    return ("none" if spec.policy.otherwise == "error" else "otherwise"), None, due


def reference_step(spec: EndpointSpec, step: StepSpec, valid: dict[str, Score], rows: int) -> Any:
    """What one step answers at its end; None: nothing."""
    of = step.of or []
    answered = [name for name in of if name in valid]
    if step.take == "split":
        drawn = reference_draw(spec)
        return drawn if drawn in valid else None
    if step.take == "best":
        return answered[0] if answered else None
    if step.take == "first":
        return next((name for name in valid if name in of), None)
    if len(answered) < (step.quorum or (len(of) // 2 + 1 if step.take == "majority" else 1)):
        return None
    tables = [valid[name].columns for name in answered]
    weights = [Fraction(str(reference_weight(spec, step, name))) for name in answered]
    if step.on == "label":
        ones = [Fraction(1)] * len(answered)
        return reference_votes(tables, "label", ones if step.take == "majority" else weights, rows)
    return reference_merge(step, tables, weights, rows)


def reference_weight(spec: EndpointSpec, step: StepSpec, name: str) -> float:
    """Weight of a model in a step."""
    return (step.weights or {}).get(name, spec.models[name].weight)


def reference_votes(tables: Sequence[Any], column: str, weights: list[Fraction], rows: int) -> list[Any]:
    """Each row's label of most weight; ties by the first voter."""
    winners = []
    for row in range(rows):
        votes = [(table.column(column)[row], w) for table, w in zip(tables, weights, strict=True)]
        labels = [label for label, _ in votes if label is not None]
        weight = {each: sum(w for label, w in votes if label == each) for each in labels}
        winners.append(min(labels, key=lambda x: (-weight[x], labels.index(x)), default=None))
    return winners


def reference_merge(step: StepSpec, tables: Sequence[Any], weights: list[Fraction], rows: int) -> dict[str, Any]:
    """Exact means and medians, votes for the other columns."""
    numeric = [step.on] if isinstance(step.on, str) else step.on or ["p"]
    merged: dict[str, Any] = {}
    for column in ("p", "n", "label"):
        if column not in numeric:
            merged[column] = reference_votes(tables, column, weights, rows)
            continue
        values = []
        for row in range(rows):
            pairs = [(table.column(column)[row], w) for table, w in zip(tables, weights, strict=True)]
            exact = [(Fraction(value), w) for value, w in pairs if value is not None]
            values.append(reference_number(step, exact))
        merged[column] = [v if v is None or column == "p" else round(v) for v in values]
    return merged


def reference_number(step: StepSpec, pairs: list[tuple[Fraction, Fraction]]) -> Fraction | None:
    """Mean, weighted mean or median of one row."""
    if not pairs:
        return None
    if step.take == "median":
        return statistics.median([value for value, _ in pairs])
    weights = [w if step.take == "weighted" else Fraction(1) for _, w in pairs]
    return sum((v * w for (v, _), w in zip(pairs, weights, strict=True)), Fraction(0)) / sum(weights)


def reference_draw(spec: EndpointSpec) -> str:
    """The model that the tests' one customer draws, by a policy that only splits."""
    step = {"take": "split", "shares": {"b": 0.25, "a": 0.5, "c": 0.25}, "by": "customer"}
    policy = compile_policy(parse_spec(document([step], "error", canary=False)))
    scores_of_all = [Arrival(Score(m, "1", Table({"p": [0.0]})), 0.0) for m in ELIGIBLE]
    return decide(policy, scores_of_all, 1).models[0]


# --- the system ---


def decide(policy: Policy, arrivals: Arrivals, rows: int) -> Decision:
    """Decide with punctual wake-ups."""
    return replay(policy, arrivals, request_id="r", rows=rows, context={"customer": "42"})


def open_mailbox(policy: Policy, rows: int, *, deadline: float | None = None) -> Mailbox:
    """A mailbox opened at 0."""
    due = policy.deadline_s if deadline is None else deadline
    context = {"customer": "42"}
    return Mailbox(policy, request_id="r", opened_at=0.0, deadline=due, rows=rows, context=context)


def comparable(decision: Decision, arrivals: Arrivals, rows: int, on: str | None) -> Any:
    """The answer in the reference's form; votes as the column voted on."""
    tables = {a.score.model: a.score.columns for a in arrivals}
    match decision.answer:
        case Picked(model=model):
            return model if on is None else list(tables[model].column(on))  # type: ignore[union-attr]
        case PickedRows(models=models):
            return [tables[m].column(str(on))[row] for row, m in enumerate(models)]  # type: ignore[union-attr]
        case Merged(columns=columns):
            return columns
        case Otherwise() | NoAnswer():
            return None


def assert_same(actual: Any, expected: Any) -> None:
    """Equal; floating columns within rounding."""
    if not isinstance(expected, dict):
        assert actual == expected
        return
    assert actual.keys() == expected.keys()
    for name, values in expected.items():
        for found, wanted in zip(actual[name], values, strict=True):
            same = found == wanted or math.isclose(found, float(wanted), rel_tol=1e-12, abs_tol=1e-12)
            assert same, (name, found, wanted)


def vote_column(spec: EndpointSpec, rule: str) -> str | None:
    """The column that the deciding step voted on, if it did."""
    if not rule.startswith("steps["):
        return None
    return "label" if spec.policy.steps[int(rule[6])].on == "label" else None


@settings(max_examples=250, deadline=None)
@given(cases())
def test_early_resolution_gives_what_waiting_gives(case: tuple[EndpointSpec, Arrivals, int]) -> None:
    """The decision equals that of a reference which judges each step at its end, and is never later."""
    spec, arrivals, rows = case
    rule, expected, end = reference(spec, arrivals, rows)
    decision = decide(compile_policy(spec), arrivals, rows)
    assert decision.rule == rule
    assert_same(comparable(decision, arrivals, rows, vote_column(spec, rule)), expected)
    assert decision.decided_at <= end


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(1, DEADLINE_MS + 10))
def test_decision_is_made_by_any_deadline(case: tuple[EndpointSpec, Arrivals, int], due_ms: int) -> None:
    """Woken at `next_wake`, a mailbox has decided by the deadline, also by a client's shorter one."""
    spec, arrivals, rows = case
    mailbox = open_mailbox(compile_policy(spec), rows, deadline=due_ms / 1000)
    for arrival in arrivals:
        while mailbox.next_wake < arrival.at:
            assert mailbox.next_wake <= due_ms / 1000
            mailbox.wake(mailbox.next_wake)
        mailbox.deliver(arrival.score, arrival.at)
    mailbox.wake(due_ms / 1000)
    assert mailbox.decision is not None
    assert mailbox.decision.decided_at <= due_ms / 1000
    assert mailbox.next_wake == math.inf


@settings(max_examples=100, deadline=None)
@given(cases())
def test_late_wake_ups_change_no_answer(case: tuple[EndpointSpec, Arrivals, int]) -> None:
    """A caller that sleeps through every step's end still gets the answer of a punctual one."""
    spec, arrivals, rows = case
    policy = compile_policy(spec)
    mailbox = open_mailbox(policy, rows)
    made = [d for a in arrivals if (d := mailbox.deliver(a.score, a.at)) is not None]
    made += [d for d in [mailbox.wake(1.0)] if d is not None]
    punctual = decide(policy, arrivals, rows)
    assert made == [mailbox.decision]
    assert (made[0].rule, made[0].answer) == (punctual.rule, punctual.answer)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_shadow_and_decoy_are_never_served(case: tuple[EndpointSpec, Arrivals, int]) -> None:
    """No decision names a shadow or a decoy, whatever arrives."""
    spec, arrivals, rows = case
    assert not {"shadow", "archive"} & set(decide(compile_policy(spec), arrivals, rows).models)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(1, 4))
def test_order_of_arrival_never_changes_a_majority(data: st.DataObject, rows: int, quorum: int) -> None:
    """Any two orders in which the same scores arrive lead to the same labels."""
    step = {"take": "majority", "on": "label", "of": list(ELIGIBLE), "quorum": quorum}
    spec = parse_spec(document([step], "error", canary=False))
    policy = compile_policy(spec)
    given_scores = [data.draw(scores(name, rows)) for name in ELIGIBLE[: data.draw(st.integers(1, 4))]]
    answers = []
    for _ in range(2):
        order = data.draw(st.permutations(given_scores))
        arrivals = [Arrival(score, i / 1000) for i, score in enumerate(order)]
        decision = decide(policy, arrivals, rows)
        answers.append((decision.rule, comparable(decision, arrivals, rows, "label")))
    assert answers[0] == answers[1]


@settings(max_examples=100, deadline=None)
@given(cases(), st.data())
def test_foreign_scores_cannot_enter(case: tuple[EndpointSpec, Arrivals, int], data: st.DataObject) -> None:
    """Scores that name another request change neither decision nor arrivals, wherever they are mixed in."""
    spec, arrivals, rows = case
    policy = compile_policy(spec)
    mixed: Arrivals = []
    for arrival in arrivals:
        for name in data.draw(st.lists(st.sampled_from(MODELS), max_size=2)):
            score = data.draw(scores(name, rows))
            mixed.append(Arrival(Score(name, "1", score.columns, score.error, "another"), arrival.at))
        mixed.append(arrival)
    mailbox = open_mailbox(policy, rows)
    for arrival in mixed:
        mailbox.deliver(arrival.score, arrival.at)
    assert all(a.score.request_id is None for a in mailbox.arrivals.values())
    assert decide(policy, mixed, rows) == decide(policy, arrivals, rows)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=8), unique=True, min_size=1, max_size=50), st.data())
def test_growing_a_share_moves_only_keys_to_it(keys: list[str], data: st.DataObject) -> None:
    """When a share grows at its neighbour's cost, every key that moves goes from the neighbour to it."""
    start = data.draw(st.integers(0, 100))
    more = data.draw(st.integers(start, 100))
    rest = data.draw(st.integers(0, 100 - more))

    def draws(share: int) -> list[str]:
        shares = {"b": share / 100, "a": (100 - rest - share) / 100, "c": rest / 100}
        step = {"take": "split", "shares": shares, "by": "customer"}
        policy = compile_policy(parse_spec(document([step], "error", canary=False)))
        return [policy.steps[0].rule.draw({"customer": key}, "r") for key in keys]  # type: ignore[attr-defined]

    for before, after in zip(draws(start), draws(more), strict=True):
        assert before == after or (before, after) == ("a", "b")


@pytest.mark.parametrize("offset_s", [0.0, 1e6 + 0.1])
def test_times_count_from_acceptance(offset_s: float) -> None:
    """A mailbox opened at any time ends its steps that much later."""
    step = {"take": "best", "until": "5ms", "of": ["a"]}
    policy = compile_policy(parse_spec(document([step], "error", canary=False)))
    mailbox = Mailbox(policy, request_id="r", opened_at=offset_s, deadline=offset_s + 0.02, rows=1, context={})
    assert mailbox.next_wake == offset_s + 0.005
