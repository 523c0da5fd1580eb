"""Every rule, by tables: what arrives, what is answered."""

import math
from typing import Any

import pytest
from rendezvous.mailbox import (
    Answer,
    Arrival,
    Decision,
    Failure,
    Mailbox,
    Merged,
    NoAnswer,
    Picked,
    PickedRows,
    Score,
    Table,
)
from rendezvous.policy import Case, Failed, Outcome, Rule, compile_policy
from rendezvous.replay import replay
from rendezvous.spec import EndpointSpec, SpecError, StepSpec, parse_spec

OUTPUTS = [
    {"name": "p", "type": "FP64", "missing": True, "nan": True},
    {"name": "n", "type": "INT64"},
    {"name": "label", "type": "STRING", "missing": True},
    {"name": "vector", "type": "FP32", "shape": [2]},
]
NAN = math.nan


def spec_of(*steps: dict[str, Any], rules: Any = None) -> EndpointSpec:
    """Champion a, challengers b (weight 2) and c (weight 3), deadline 100 ms."""
    models = {"a": {"role": "champion"}, "b": {"weight": 2}, "c": {"weight": 3}, "s": {"role": "shadow"}}
    return parse_spec(
        {
            "endpoint": "e",
            "inputs": [],
            "outputs": OUTPUTS,
            "models": models,
            "policy": {"deadline": "100ms", "steps": list(steps)},
        },
        rules=rules,
    )


def score(model: str, label: Any = "x", p: Any = 0.5, n: Any = 0) -> Score:
    """A valid score; lists make several rows."""
    labels = label if isinstance(label, list) else [label]
    ps = p if isinstance(p, list) else [p] * len(labels)
    ns = n if isinstance(n, list) else [n] * len(labels)
    vectors = [[v, 2 * v] for v in range(len(labels))]
    return Score(model, "1", Table({"p": ps, "n": ns, "label": labels, "vector": vectors}))


def failed(model: str) -> Score:
    """A score that is an error."""
    return Score(model, "1", None, Failure(13, "failed"))


def decide(step: dict[str, Any], *arrivals: tuple[Score, int], rows: int = 1) -> Decision:
    """Decide one step; arrivals are scores and milliseconds."""
    policy = compile_policy(spec_of(step))
    return replay(policy, [Arrival(s, ms / 1000) for s, ms in arrivals], request_id="r", rows=rows)


A, B, C = score("a"), score("b"), score("c")
VOTE = {"take": "majority", "on": "label", "until": "50ms"}
WVOTE = {"take": "weighted", "on": "label", "until": "50ms"}

CHOICES: list[tuple[str, dict[str, Any], list[tuple[Score, int]], Answer, int]] = [
    ("best at once", {"take": "best"}, [(A, 3)], Picked("a"), 3),
    ("best waits for the preferred", {"take": "best", "until": "50ms"}, [(B, 3), (A, 9)], Picked("a"), 9),
    ("best takes the next at its end", {"take": "best", "until": "50ms"}, [(C, 3), (B, 4)], Picked("b"), 50),
    ("best passes over failures at once", {"take": "best"}, [(failed("a"), 1), (B, 4)], Picked("b"), 4),
    ("best fails when all failed", {"take": "best", "of": ["a"]}, [(failed("a"), 7)], NoAnswer(), 7),
    ("best does not see others", {"take": "best", "of": ["a"], "until": "50ms"}, [(B, 7)], NoAnswer(), 50),
    ("first is first", {"take": "first"}, [(C, 3), (A, 4)], Picked("c"), 3),
    ("first needs a valid score", {"take": "first"}, [(failed("c"), 3), (A, 4)], Picked("a"), 4),
    ("first of the named", {"take": "first", "of": ["a", "b"]}, [(C, 3), (B, 4)], Picked("b"), 4),
    ("first fails when all failed", {"take": "first", "of": ["a"]}, [(failed("a"), 3)], NoAnswer(), 3),
    ("arriving at the end counts", {"take": "first", "until": "50ms"}, [(B, 50)], Picked("b"), 50),
    ("two of three do not wait", VOTE, [(score("b", "y"), 1), (score("c", "y"), 2)], Picked("b"), 2),
    (
        "a split vote waits",
        VOTE,
        [(score("b", "x"), 1), (score("c", "y"), 2), (score("a", "y"), 3)],
        Picked("a"),
        3,
    ),
    (
        "ties go by the order of `of`",
        VOTE | {"of": ["c", "b", "a"]},
        [(score("a", "x"), 1), (score("b", "y"), 2), (score("c", "z"), 3)],
        Picked("c"),
        3,
    ),
    (
        "a tie at the end goes by the order of `of`",
        VOTE | {"of": ["c", "b", "a"]},
        [(score("a", "x"), 1), (score("b", "y"), 2)],
        Picked("b"),
        50,
    ),
    (
        "the earlier voter of a tie is safe from later ones",
        VOTE | {"of": ["a", "b"], "quorum": 1},
        [(score("a", "x"), 1)],
        Picked("a"),
        1,
    ),
    (
        "the later voter is not",
        VOTE | {"of": ["a", "b"], "quorum": 1},
        [(score("b", "x"), 1)],
        Picked("b"),
        50,
    ),
    ("quorum not met", VOTE, [(score("a", "x"), 1)], NoAnswer(), 50),
    ("quorum out of reach", VOTE, [(failed("a"), 1), (failed("b"), 2)], NoAnswer(), 2),
    (
        "quorum of all waits for all",
        VOTE | {"quorum": 3},
        [(score("a", "x"), 1), (score("b", "x"), 2), (score("c", "y"), 9)],
        Picked("a"),
        9,
    ),
    (
        "missing abstains",
        VOTE,
        [(score("b", None), 1), (score("c", "y"), 2), (score("a", "y"), 3)],
        Picked("a"),
        3,
    ),
    ("nobody votes", VOTE | {"of": ["c", "a"]}, [(score("a", None), 1), (score("c", None), 2)], Picked("c"), 2),
    (
        "NaN abstains",
        VOTE | {"on": "p"},
        [(score("a", p=NAN), 1), (score("b", p=NAN), 2), (score("c", p=1.0), 3)],
        Picked("c"),
        3,
    ),
    ("heavy vote decides alone", WVOTE | {"of": ["c", "b"]}, [(score("c", "y"), 1)], Picked("c"), 1),
    ("light vote waits", WVOTE, [(score("b", "x"), 1), (score("c", "y"), 2), (score("a", "y"), 3)], Picked("a"), 3),
    (
        "weighted tie goes by the order of `of`",
        WVOTE,
        [(score("c", "y"), 1), (score("a", "x"), 2), (score("b", "x"), 3)],
        Picked("a"),
        3,
    ),
    (
        "decimal weights tie exactly",
        WVOTE | {"weights": {"a": 0.1, "b": 0.2, "c": 0.3}, "of": ["c", "a", "b"]},
        [(score("a", "x"), 1), (score("b", "x"), 2), (score("c", "y"), 3)],
        Picked("c"),
        3,
    ),
    ("split of one", {"take": "split", "shares": {"b": 1}}, [(A, 1), (B, 5)], Picked("b"), 5),
    ("drawn model fails", {"take": "split", "shares": {"b": 1}}, [(A, 1), (failed("b"), 5)], NoAnswer(), 5),
    ("drawn model is late", {"take": "split", "shares": {"b": 1}, "until": "50ms"}, [(B, 51)], NoAnswer(), 50),
    ("a share of 0 draws nobody", {"take": "split", "shares": {"a": 0, "b": 1, "c": 0}}, [(B, 5)], Picked("b"), 5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "arrivals", "answer", "ms"), [case[1:] for case in CHOICES], ids=[c[0] for c in CHOICES]
)
def test_rule_chooses(step: dict[str, Any], arrivals: list[tuple[Score, int]], answer: Answer, ms: int) -> None:
    """The rule gives this answer at this millisecond."""
    decision = decide(step, *arrivals)
    assert (decision.answer, decision.decided_at) == (answer, ms / 1000)
    assert decision.rule == ("none" if answer == NoAnswer() else f"steps[0].{step['take']}")
    assert decision.reason


def test_majority_picks_each_row_from_a_model_that_voted_for_it() -> None:
    """Rows come from the first model of `of` that chose the winning label; the one that gave most is named first."""
    decision = decide(
        VOTE,
        (score("a", ["x", "x", "x"]), 1),
        (score("b", ["y", "y", "x"]), 2),
        (score("c", ["y", "y", "z"]), 3),
        rows=3,
    )
    assert decision.answer == PickedRows(("b", "b", "a"))
    assert decision.models == ("b", "a")


def test_one_open_row_keeps_a_majority_waiting() -> None:
    """A majority resolves only once every row is settled."""
    decision = decide(
        VOTE, (score("a", ["x", "x"]), 1), (score("b", ["x", "y"]), 2), (score("c", ["x", "y"]), 9), rows=2
    )
    assert (decision.answer, decision.decided_at) == (PickedRows(("a", "b")), 0.009)


MERGES: list[tuple[str, dict[str, Any], list[Score], dict[str, Any], int]] = [
    ("mean", {"take": "mean"}, [score("a", p=0.0), score("b", p=1.0), score("c", p=0.5)], {"p": [0.5]}, 3),
    ("mean of equals", {"take": "mean"}, [score("a", p=0.1), score("b", p=0.1), score("c", p=0.1)], {"p": [0.1]}, 3),
    ("mean weighs no model", {"take": "mean"}, [score("a", p=0.0), failed("b"), score("c", p=1.0)], {"p": [0.5]}, 3),
    ("NaN in one row only", {"take": "mean"}, [score("a", ["x", "x"], p=[NAN, 0.0]), score("b", ["x", "x"],
     p=[0.5, 1.0]), failed("c")], {"p": [0.5, 0.5]}, 3),
    ("mean waits for all", {"take": "mean", "until": "50ms"}, [score("a", p=0.0), score("b", p=1.0)], {"p": [0.5]}, 50),
    ("mean does without failures", {"take": "mean"}, [score("a", p=0.25), failed("b"), failed("c")], {"p": [0.25]}, 3),
    ("missing is left out", {"take": "mean"}, [score("a", p=None), score("b", p=1.0), failed("c")], {"p": [1.0]}, 3),
    ("NaN is left out", {"take": "mean"}, [score("a", p=NAN), score("b", p=1.0), failed("c")], {"p": [1.0]}, 3),
    ("all missing", {"take": "mean"}, [score("a", p=None), score("b", p=None), failed("c")], {"p": [None]}, 3),
    ("huge", {"take": "mean"}, [score("a", p=1.5e308), score("b", p=1.5e308), failed("c")], {"p": [1.5e308]}, 3),
    ("infinite", {"take": "mean"}, [score("a", p=math.inf), score("b", p=1.0), failed("c")], {"p": [math.inf]}, 3),
    ("integers round half to even", {"take": "mean", "on": "n"}, [score("a", n=1), score("b", n=2), failed("c")],
     {"n": [2]}, 3),
    ("integers are exact", {"take": "mean", "on": "n"}, [score("a", n=2**62 + 1), score("b", n=2**62 + 3), failed("c")],
     {"n": [2**62 + 2]}, 3),
    ("median", {"take": "median"}, [score("a", p=0.0), score("b", p=9.0), score("c", p=0.5)], {"p": [0.5]}, 3),
    ("median of two", {"take": "median"}, [score("a", p=0.0), score("b", p=1.0), failed("c")], {"p": [0.5]}, 3),
    ("median of integers", {"take": "median", "on": ["n"]}, [score("a", n=1), score("b", n=4), failed("c")],
     {"n": [2]}, 3),
    ("weighted mean", {"take": "weighted"}, [score("a", p=0.0), score("b", p=1.0), score("c", p=2.0)],
     {"p": [8 / 6]}, 3),
    ("weights of the step", {"take": "weighted", "weights": {"b": 7}}, [score("a", p=0.0), score("b", p=1.0),
     failed("c")], {"p": [0.875]}, 3),
    ("other columns by weight", {"take": "mean"}, [score("a", "x"), score("b", "x"), score("c", "y")],
     {"label": ["x"], "n": [0]}, 3),
    ("other columns: weight beats number", {"take": "mean"}, [score("a", "x", n=1), score("b", "z", n=2),
     score("c", "y", n=3)], {"label": ["y"], "n": [3]}, 3),
    ("other columns: missing abstains", {"take": "mean"}, [score("a", "x"), score("c", None), failed("b")],
     {"label": ["x"]}, 3),
    ("shaped columns by element", {"take": "mean", "on": "vector"}, [score("a", ["x", "x"]), score("b", ["x", "x"]),
     failed("c")], {"vector": [[0.0, 0.0], [1.0, 2.0]]}, 3),
]  # fmt: skip


@pytest.mark.parametrize(("step", "scores", "columns", "ms"), [case[1:] for case in MERGES], ids=[c[0] for c in MERGES])
def test_rule_merges(step: dict[str, Any], scores: list[Score], columns: dict[str, Any], ms: int) -> None:
    """The rule computes these columns at this millisecond; scores arrive 1 ms apart."""
    rows = max(s.columns.rows for s in scores if s.columns is not None)
    decision = decide(step, *[(s, i + 1) for i, s in enumerate(scores)], rows=rows)
    assert isinstance(decision.answer, Merged)
    assert set(decision.answer.columns) == {"p", "n", "label", "vector"}
    assert {name: decision.answer.columns[name] for name in columns} == columns
    assert decision.decided_at == ms / 1000
    assert decision.models == tuple(sorted(s.model for s in scores if s.error is None))


def test_mean_below_its_quorum_passes() -> None:
    """A mean whose quorum is out of reach fails at once."""
    decision = decide({"take": "mean", "quorum": 2}, (failed("a"), 1), (failed("b"), 2))
    assert (decision.rule, decision.decided_at) == ("none", 0.002)
    assert "quorum of 2 not reached" in decision.reason


def test_opposite_infinities_give_nan() -> None:
    """The mean of infinities of both signs is NaN, and costs nobody an answer."""
    decision = decide({"take": "mean"}, (score("a", p=math.inf), 1), (score("b", p=-math.inf), 2), (failed("c"), 3))
    assert isinstance(decision.answer, Merged)
    assert math.isnan(decision.answer.columns["p"][0])


def draw_counts(shares: dict[str, float], *, by: str | None, n: int = 4000) -> dict[str, int]:
    """How often each model is drawn over n customers and requests."""
    policy = compile_policy(spec_of({"take": "split", "shares": shares} | ({"by": by} if by else {})))
    counts = dict.fromkeys(shares, 0)
    arrivals = [Arrival(score(m), 0.001) for m in shares]
    for i in range(n):
        context = {"customer": str(i % (n // 4))} if by else {}
        counts[replay(policy, arrivals, request_id=f"r{i}", rows=1, context=context).models[0]] += 1
    return counts


@pytest.mark.parametrize("by", ["customer", None])
def test_split_keeps_its_shares(by: str | None) -> None:
    """Over many keys or requests each model gets about its share."""
    counts = draw_counts({"a": 0.7, "b": 0.2, "c": 0.1}, by=by)
    assert [counts["a"] / 4000, counts["b"] / 4000, counts["c"] / 4000] == pytest.approx([0.7, 0.2, 0.1], abs=0.04)


def test_split_is_sticky() -> None:
    """A key draws the same model whatever the request, also in a later life: the draw is pinned."""
    policy = compile_policy(spec_of({"take": "split", "shares": {"a": 0.5, "b": 0.5}, "by": "customer"}))
    arrivals = [Arrival(score("a"), 0.0), Arrival(score("b"), 0.0)]

    def drawn(key: str, request: str) -> str:
        return replay(policy, arrivals, request_id=request, rows=1, context={"customer": key}).models[0]

    for key in map(str, range(50)):
        assert len({drawn(key, f"r{i}") for i in range(5)}) == 1
    assert "".join(drawn(str(key), "r") for key in range(12)) == PINNED_DRAWS


PINNED_DRAWS = "aaabbabbbaaa"


# --- plug-ins ---


class Pessimist:
    """A plug-in that serves the model with the highest `p` once two have answered."""

    def __init__(self, step: StepSpec, spec: EndpointSpec) -> None:
        if not (step.options or {}).get("column"):
            raise ValueError("options.column is missing")
        self.column = (step.options or {})["column"]
        self.of = step.of or spec.eligible_models()

    def judge(self, case: Case, closed: bool, /) -> Outcome | Failed | None:
        """See `Rule`."""
        answered = [m for m in self.of if m in case.arrivals and case.arrivals[m].score.error is None]
        if len(answered) < 2:
            return Failed("fewer than two") if closed else None
        worst = max(answered, key=lambda model: max(case.column(model, self.column)))
        return Outcome(Picked(worst), (worst,), "highest")


def test_plugin_decides() -> None:
    """A rule that is plugged in is used by its name, with its options."""
    rules = {"pessimist": Pessimist}
    step = {"take": "pessimist", "options": {"column": "p"}}
    policy = compile_policy(spec_of(step, rules=rules), rules=rules)
    arrivals = [Arrival(score("c", p=0.9), 0.001), Arrival(score("a", p=0.1), 0.002)]
    decision = replay(policy, arrivals, request_id="r", rows=1)
    assert (decision.rule, decision.answer) == ("steps[0].pessimist", Picked("c"))


def test_plugin_refuses_its_step() -> None:
    """What a plug-in says of its options becomes an error of the specification."""
    with pytest.raises(SpecError, match=r"policy\.steps\[0\]: rule 'pessimist': options\.column is missing"):
        spec_of({"take": "pessimist"}, rules={"pessimist": Pessimist})


class Constant:
    """A plug-in that says the same, always, once three models have delivered."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def __call__(self, step: StepSpec, spec: EndpointSpec, /) -> Rule:
        """Its own factory."""
        return self

    def judge(self, case: Case, closed: bool, /) -> Any:
        """See `Rule`."""
        if len(case.arrivals) < 3:
            return None
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


FAULTS: list[tuple[str, Any, str]] = [
    ("raises", ZeroDivisionError("oops"), "the rule raised ZeroDivisionError: oops"),
    ("never decides", None, "the rule gave no outcome at its end"),
    ("gives nonsense", 42, "the rule gave 42, which is no outcome"),
    ("serves a shadow", Outcome(Picked("s"), ("s",), ""), "the rule chose 's', which has no valid score"),
    ("hides a shadow", Outcome(Picked("s"), ("b",), ""), "the rule chose 's', which has no valid score"),
    ("serves a failure", Outcome(Picked("c"), ("c",), ""), "the rule chose 'c', which has no valid score"),
    ("serves the absent", Outcome(PickedRows(("a",)), ("a",), ""), "the rule chose 'a', which has no valid score"),
    ("miscounts rows", Outcome(PickedRows(("b", "b")), ("b",), ""), "with another number of rows than 1"),
    ("miscounts values", Outcome(Merged({"p": []}), ("b",), ""), "with another number of rows than 1"),
    ("miscounts the rest", Outcome(Merged({}, ("b", "b")), ("b",), ""), "with another number of rows than 1"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "reason"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_faulty_plugin_costs_only_its_step(said: Any, reason: str) -> None:
    """Whatever a plug-in does, the next step decides, and the reason says what happened."""
    rules = {"faulty": Constant(said)}
    steps: list[dict[str, Any]] = [{"take": "faulty", "until": "20ms"}, {"take": "best", "of": ["b"]}]
    policy = compile_policy(spec_of(*steps, rules=rules), rules=rules)
    arrivals = [Arrival(s, 0.001) for s in (score("s"), failed("c"), B)]
    decision = replay(policy, arrivals, request_id="r", rows=1)
    assert (decision.rule, decision.answer) == ("steps[1].best", Picked("b"))
    assert reason in decision.reason


def test_column_that_raises_costs_only_its_step() -> None:
    """A table that cannot be read makes the vote fail, not the answer."""
    policy = compile_policy(spec_of({"take": "majority", "on": "label", "of": ["a"]}, {"take": "first"}))
    broken = Score("a", "1", Table({"other": [1]}))
    mailbox = Mailbox(policy, request_id="r", opened_at=0.0, deadline=0.1, rows=1, context={})
    decision = mailbox.deliver(broken, 0.01)
    assert decision is not None
    assert decision.rule == "steps[1].first"
    assert "the rule raised KeyError" in decision.reason
