"""The mailbox: what enters, what is late, who is forced, what happens when nobody answers."""

import math
from typing import Any

import pytest
from rendezvous.mailbox import (
    Arrival,
    Decision,
    Failure,
    Mailbox,
    NoAnswer,
    Otherwise,
    Picked,
    Score,
    Table,
)
from rendezvous.policy import ForceError, Policy, compile_policy
from rendezvous.replay import replay
from rendezvous.spec import parse_spec

MODELS = {
    "boosted": {"role": "champion"},
    "logit": {"role": "challenger"},
    "scorecard": {"role": "canary"},
    "next": {"role": "shadow"},
    "archive": {"role": "decoy"},
}
STEPS = [{"take": "best", "until": "30ms", "of": ["boosted"]}, {"take": "first", "until": "80ms"}]
REFER = {"p": 1, "label": "refer"}


def policy_of(*, steps: Any = STEPS, otherwise: Any = REFER, models: Any = MODELS) -> Policy:
    """Policy of an endpoint with a deadline of 100 ms."""
    return compile_policy(
        parse_spec(
            {
                "endpoint": "credit",
                "inputs": [],
                "outputs": [{"name": "p", "type": "FP64"}, {"name": "label", "type": "STRING"}],
                "models": models,
                "policy": {"deadline": "100ms", "steps": steps, "otherwise": otherwise},
            }
        )
    )


def mailbox_of(policy: Policy, *, rows: int = 1, force: str | None = None, deadline: float = 0.1) -> Mailbox:
    """A mailbox opened at 0."""
    return Mailbox(policy, request_id="r1", opened_at=0.0, deadline=deadline, rows=rows, context={}, force=force)


def score(model: str, *, rows: int = 1, request_id: str | None = None, version: str = "1") -> Score:
    """A valid score."""
    return Score(model, version, Table({"p": [0.5] * rows, "label": ["x"] * rows}), None, request_id)


def failed(model: str) -> Score:
    """A score that is an error."""
    return Score(model, "1", None, Failure(13, "failed"))


def made(decision: Decision | None) -> Decision:
    """The decision that a call must have made."""
    assert decision is not None
    return decision


def test_closed_mailbox_has_decided_without_an_answer() -> None:
    """A request that cannot be put to the models is decided at once, and once; scores are late after that."""
    mailbox = mailbox_of(policy_of())
    decision = made(mailbox.close("enrichers.history", "it was late", 0.02))
    assert (decision.rule, decision.answer, decision.models, decision.decided_at, decision.reason) == (
        "enrichers.history", NoAnswer(), (), 0.02, "it was late",
    )  # fmt: skip
    assert mailbox.next_wake == math.inf
    assert mailbox.wake(0.2) is None
    assert mailbox.deliver(score("boosted"), 0.03) is None
    assert set(mailbox.late) == {"boosted"}
    assert mailbox.close("enrichers.other", "again", 0.04) is None
    assert mailbox.decision == decision


def test_wake_moves_from_step_to_step_to_the_deadline() -> None:
    """Without any score the mailbox asks to be woken at each end and answers `otherwise` at the deadline."""
    mailbox = mailbox_of(policy_of())
    wakes = []
    while mailbox.decision is None:
        wakes.append(mailbox.next_wake)
        mailbox.wake(mailbox.next_wake)
    assert wakes == [0.03, 0.08, 0.1]
    assert (mailbox.decision.rule, mailbox.decision.models) == ("otherwise", ())
    assert mailbox.decision.answer == Otherwise({"p": 1.0, "label": "refer"})
    assert mailbox.next_wake == math.inf


def test_waking_early_changes_nothing() -> None:
    """A wake before `next_wake` is harmless."""
    mailbox = mailbox_of(policy_of())
    assert mailbox.wake(0.0299) is None
    assert mailbox.next_wake == 0.03


def test_score_after_the_decision_is_late() -> None:
    """Late scores make no decision, are kept, and are told apart; they complete the mailbox."""
    mailbox = mailbox_of(policy_of())
    assert mailbox.deliver(score("next"), 0.001) is None
    decision = made(mailbox.deliver(score("boosted"), 0.002))
    assert decision == Decision(
        "steps[0].best", Picked("boosted"), ("boosted",), 0.002, "boosted, the only model asked, had answered", 0.002
    )
    assert mailbox.late == {}
    assert mailbox.deliver(score("logit"), 0.5) is None
    assert not mailbox.is_complete
    assert mailbox.deliver(failed("scorecard"), 0.6) is None
    assert list(mailbox.late) == ["logit", "scorecard"]
    assert mailbox.late["logit"] == Arrival(score_of(mailbox, "logit"), 0.5)
    assert list(mailbox.arrivals) == ["next", "boosted", "logit", "scorecard"]
    assert mailbox.is_complete
    assert mailbox.decision is decision


def score_of(mailbox: Mailbox, model: str) -> Score:
    """The score that a mailbox keeps of a model."""
    return mailbox.arrivals[model].score


def test_late_is_empty_before_the_decision() -> None:
    """Nothing is late while nothing is decided."""
    mailbox = mailbox_of(policy_of())
    mailbox.deliver(score("logit"), 0.001)
    assert mailbox.late == {}


def test_duplicate_is_counted_and_ignored() -> None:
    """A model's second score, also of another version, also a late one, changes nothing but the counter."""
    mailbox = mailbox_of(policy_of())
    mailbox.deliver(failed("logit"), 0.001)
    assert mailbox.deliver(score("logit", version="2"), 0.002) is None
    mailbox.deliver(score("boosted"), 0.003)
    mailbox.deliver(score("boosted"), 0.004)
    assert mailbox.duplicates == 2
    assert mailbox.arrivals["logit"].score.error is not None
    assert mailbox.arrivals["boosted"].at == 0.003


@pytest.mark.parametrize("model", ["stranger", "archive", ""])
def test_unknown_model_is_counted_and_ignored(model: str) -> None:
    """A model that the endpoint does not have, and a decoy, cannot enter."""
    mailbox = mailbox_of(policy_of())
    assert mailbox.deliver(score(model), 0.001) is None
    assert (mailbox.unknown, mailbox.arrivals) == (1, {})


def test_score_of_another_request_is_refused() -> None:
    """A score that names another request is counted and does not enter; one that names this request does."""
    mailbox = mailbox_of(policy_of())
    assert mailbox.deliver(score("boosted", request_id="r2"), 0.001) is None
    assert (mailbox.foreign, mailbox.arrivals) == (1, {})
    assert made(mailbox.deliver(score("boosted", request_id="r1"), 0.002)).models == ("boosted",)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (score("boosted", rows=3), "model 'boosted' answered 3 rows to a request of 2 rows"),
        (Score("boosted", "1"), "model 'boosted' answered no table to a request of 2 rows"),
    ],
)
def test_score_of_the_wrong_size_counts_as_failed(wrong: Score, message: str) -> None:
    """A table with another number of rows is an invalid output, and the next model is taken."""
    mailbox = mailbox_of(policy_of(), rows=2)
    assert mailbox.deliver(wrong, 0.001) is None
    assert mailbox.arrivals["boosted"].score.error == Failure(14, message)
    assert made(mailbox.deliver(score("logit", rows=2), 0.002)).rule == "steps[1].first"


def test_step_that_cannot_succeed_passes_at_once() -> None:
    """The champion's failure hands over to what has arrived by then, without waiting for the step's end."""
    mailbox = mailbox_of(policy_of())
    assert mailbox.deliver(score("logit"), 0.001) is None
    decision = made(mailbox.deliver(failed("boosted"), 0.002))
    assert (decision.rule, decision.decided_at) == ("steps[1].first", 0.002)
    assert decision.reason == "steps[0].best: no valid score of boosted; logit was the first to answer"


def test_overslept_end_is_settled_before_the_score_is_taken_in() -> None:
    """A score after a step's end is no part of that step, even if nobody woke the mailbox in between."""
    mailbox = mailbox_of(policy_of())
    mailbox.deliver(score("logit"), 0.001)
    decision = made(mailbox.deliver(score("boosted"), 0.031))
    assert (decision.rule, decision.models) == ("steps[1].first", ("logit",))
    assert list(mailbox.late) == ["boosted"]


@pytest.mark.parametrize(
    ("arrivals", "rule", "decided_at"),
    [
        ([(score("scorecard"), 1)], "canary", 0.08),
        ([(score("scorecard"), 90)], "canary", 0.09),
        ([(score("scorecard"), 1), (failed("boosted"), 2), (failed("logit"), 3)], "canary", 0.003),
        ([(failed("boosted"), 2), (failed("logit"), 3), (score("scorecard"), 4)], "canary", 0.004),
        ([(failed("scorecard"), 1)], "otherwise", 0.08),
        ([(failed("boosted"), 1), (failed("logit"), 2), (failed("scorecard"), 3)], "otherwise", 0.003),
        ([(score("scorecard"), 101)], "otherwise", 0.1),
        ([(score("scorecard"), 1), (score("logit"), 79)], "steps[1].first", 0.079),
    ],
)
def test_canary_is_the_last_rule(arrivals: list[tuple[Score, int]], rule: str, decided_at: float) -> None:
    """When all steps have failed a canary is served, awaited until the deadline; `otherwise` comes after it."""
    decision = replay(policy_of(), [Arrival(s, ms / 1000) for s, ms in arrivals], request_id="r", rows=1)
    assert (decision.rule, decision.decided_at) == (rule, decided_at)


def test_without_canary_otherwise_does_not_wait() -> None:
    """`otherwise` is decided as soon as nothing can change any more."""
    models = {name: spec for name, spec in MODELS.items() if name != "scorecard"}
    mailbox = mailbox_of(policy_of(models=models))
    mailbox.deliver(failed("boosted"), 0.001)
    assert made(mailbox.deliver(failed("logit"), 0.002)).rule == "otherwise"


def test_otherwise_error_gives_no_answer() -> None:
    """With `otherwise: error` the decision says that there is none, and why."""
    mailbox = mailbox_of(policy_of(otherwise="error"))
    decision = made(mailbox.wake(0.1))
    assert (decision.rule, decision.answer) == ("none", NoAnswer())
    assert decision.reason.startswith("steps[0].best: no valid score of boosted; steps[1].first: ")


def test_shorter_deadline_of_the_client_wins() -> None:
    """No step ends after the mailbox's own deadline."""
    mailbox = mailbox_of(policy_of(), deadline=0.01)
    assert mailbox.next_wake == 0.01
    assert made(mailbox.wake(0.01)).rule == "otherwise"


FORCED: list[tuple[list[tuple[Score, int]], str, float]] = [
    ([(score("boosted"), 1), (score("logit"), 90)], "forced", 0.09),
    ([(score("boosted"), 1), (failed("logit"), 5)], "otherwise", 0.005),
    ([(score("boosted"), 1), (score("scorecard"), 5)], "otherwise", 0.1),
]


@pytest.mark.parametrize(("arrivals", "rule", "decided_at"), FORCED)
def test_forced_model_alone_counts(arrivals: list[tuple[Score, int]], rule: str, decided_at: float) -> None:
    """With a forced model nobody else is served, not even the canary."""
    forced = [Arrival(s, ms / 1000) for s, ms in arrivals]
    decision = replay(policy_of(), forced, request_id="r", rows=1, force="logit")
    assert (decision.rule, decision.decided_at) == (rule, decided_at)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("logti", "endpoint 'credit' has no model 'logti'; it may be one of: boosted, logit, scorecard"),
        ("next", "model 'next' of endpoint 'credit' is a shadow, never served"),
        ("archive", "model 'archive' of endpoint 'credit' is a decoy, never served"),
    ],
)
def test_model_that_cannot_be_forced_is_refused(model: str, message: str) -> None:
    """Forcing an unknown model, a shadow or a decoy is an error that names the choice."""
    with pytest.raises(ForceError, match=message) as raised:
        mailbox_of(policy_of(), force=model)
    assert raised.value.model == model


def test_column_is_decoded_once() -> None:
    """Rules that judge again and again decode each column of a model once."""
    calls: list[str] = []

    class Counting(Table):
        def column(self, name: str, /) -> Any:
            calls.append(name)
            return super().column(name)

    vote: dict[str, Any] = {"take": "majority", "on": "label", "of": ["boosted", "logit", "scorecard"], "quorum": 1}
    mailbox = mailbox_of(policy_of(steps=[vote]))
    for i, model in enumerate(vote["of"]):
        mailbox.deliver(Score(model, "1", Counting({"p": [0.0], "label": [str(i)]})), 0.001)
    assert calls == ["label"] * 3


def test_column_of_a_failed_model_is_an_error() -> None:
    """Asking for a column of a model without valid score says so."""
    mailbox = mailbox_of(policy_of())
    mailbox.deliver(failed("logit"), 0.001)
    with pytest.raises(LookupError, match="model 'logit' has no valid score in request 'r1'"):
        mailbox.column("logit", "p")


def test_table_of_unequal_columns_is_refused() -> None:
    """A table has one length."""
    with pytest.raises(ValueError, match=r"columns of one length expected, found lengths \[1, 2\]"):
        Table({"a": [1], "b": [1, 2]})


def test_recorded_arrivals_replay_under_another_policy() -> None:
    """What a mailbox recorded, late scores included, is decided anew by another policy: a backtest."""
    mailbox = mailbox_of(policy_of())
    mailbox.deliver(score("logit"), 0.004)
    mailbox.deliver(failed("next"), 0.005)
    mailbox.wake(0.03)
    mailbox.deliver(score("boosted"), 0.045)
    recorded = list(mailbox.arrivals.values())
    assert made(mailbox.decision).models == ("logit",)
    patient = policy_of(steps=[{"take": "best", "until": "50ms"}])
    averse = policy_of(steps=[{"take": "best", "until": "40ms", "of": ["boosted"]}])
    assert replay(policy_of(), recorded, request_id="r1", rows=1) == mailbox.decision
    assert replay(patient, recorded, request_id="r1", rows=1).models == ("boosted",)
    assert replay(averse, recorded, request_id="r1", rows=1).rule == "otherwise"
