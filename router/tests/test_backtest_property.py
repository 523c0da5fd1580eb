"""What a router's mailbox decides with late and early wakes is decided again, to the bit, from its record."""

import heapq
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rendezvous.answers import Decision, Failure, Score, Table
from rendezvous.backtest import RecordedArrival, RecordedDecision, RecordedRequest, Trial
from rendezvous.mailbox import Mailbox
from rendezvous.policy import compile_policy
from rendezvous.spec import EndpointSpec, parse_spec
from rendezvous_router.parcels import Request

MODELS = ("a", "b", "c", "canary", "shadow")
DEADLINE_MS = 20
ACCEPTED_AT = 8_640_123.456789012  # a hundred days after the machine's start, where doubles are coarse


@st.composite
def steps(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One to three steps of any rule, with ends that may coincide."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        of = draw(st.lists(st.sampled_from(MODELS[:3]), min_size=1, max_size=3, unique=True))
        take = draw(st.sampled_from(["best", "first", "majority", "mean", "median", "weighted", "split"]))
        more: dict[str, Any] = {"of": of}
        if take == "split":
            more = {"shares": {"a": 0.5, "b": 0.25, "c": 0.25}, "by": "customer"}
        elif take == "majority":
            more |= {"on": "label", "quorum": draw(st.integers(1, len(of)))}
        elif take in ("mean", "median", "weighted"):
            more |= {"on": "p", "quorum": draw(st.integers(1, len(of)))}
        found.append({"take": take, **more})
    ends = sorted(draw(st.lists(st.integers(1, 4), min_size=len(found), max_size=len(found))))
    for step, end in zip(found, ends, strict=True):
        step["until"] = f"{end * 5}ms"
    return found


@st.composite
def specs(draw: st.DrawFn) -> EndpointSpec:
    """An endpoint with three eligible models, a canary and a shadow."""
    roles = dict.fromkeys(MODELS, "challenger") | {"canary": "canary", "shadow": "shadow"}
    return parse_spec(
        {
            "endpoint": "e",
            "inputs": [],
            "outputs": [{"name": "p", "type": "FP32", "nan": True}, {"name": "label", "type": "STRING"}],
            "models": {name: {"role": role, "weight": 1 + i / 10} for i, (name, role) in enumerate(roles.items())},
            "policy": {
                "deadline": f"{DEADLINE_MS}ms",
                "steps": draw(steps()),
                "otherwise": draw(st.sampled_from(["error", {"p": 0.1, "label": "refer"}])),
            },
        }
    )


@st.composite
def arrivals(draw: st.DrawFn, rows: int) -> list[tuple[float, Score]]:
    """Scores with their moments of the monotonic clock, many of them around the ends of steps."""
    found = []
    for model in draw(st.permutations(MODELS))[: draw(st.integers(0, len(MODELS)))]:
        after_s = draw(st.integers(0, 5)) * 0.005 + draw(st.integers(-1500, 1500)) * draw(st.sampled_from([1e-6, 1e-9]))
        values = draw(st.lists(st.sampled_from([0.1, 0.7, -0.0, float("nan")]), min_size=rows, max_size=rows))
        labels = draw(st.lists(st.sampled_from(["x", "y"]), min_size=rows, max_size=rows))
        failure = Failure(13, "failed") if draw(st.integers(0, 3)) == 0 else None
        columns = None if failure else Table({"p": values, "label": labels})
        found.append((ACCEPTED_AT + max(0.0, after_s), Score(model, "1", columns, failure)))
    return sorted(found, key=lambda each: each[0])


def live(
    spec: EndpointSpec,
    scores: list[tuple[float, Score]],
    rows: int,
    budget_s: float,
    lateness_s: list[float],
    **asks: Any,
) -> tuple[Mailbox, Decision, list[RecordedArrival]]:
    """Does as the desk does with one request; the clock is as late (or early) at each wake as *lateness_s* says."""
    request = Request.__new__(Request)
    request.accepted_at, request.elapsed_ns = ACCEPTED_AT, -1
    mailbox = Mailbox(
        compile_policy(spec), request_id="r", opened_at=0.0, deadline=budget_s, rows=rows, context=asks["context"],
        force=asks["force"],
    )  # fmt: skip
    order = count()
    events: list[tuple[float, int, Score | None, float]] = [(at, next(order), score, 0.0) for at, score in scores]

    def plan() -> None:
        due_s = mailbox.next_wake
        late_s = lateness_s.pop(0) if lateness_s else 0.0
        events.append((ACCEPTED_AT + due_s + late_s, next(order), None, due_s))

    plan()
    heapq.heapify(events)
    now = 0.0
    while events:
        at, _, score, due_s = heapq.heappop(events)
        now = max(now, at)
        if score is not None:
            mailbox.deliver(score, request.elapse(now))
        elif mailbox.decision is None:
            mailbox.wake(request.elapse(max(now, ACCEPTED_AT + due_s), due_s))
            if mailbox.decision is None:
                plan()
                heapq.heapify(events)
    assert mailbox.decision is not None
    recorded = [RecordedArrival(a.score, round(a.at * 1e9)) for a in mailbox.arrivals.values()]
    return mailbox, mailbox.decision, sorted(recorded, key=lambda each: each.after_ns)


@settings(max_examples=600, deadline=None)
@given(st.data(), specs())
def test_recorded_policy_decides_again_as_it_did(data: st.DataObject, spec: EndpointSpec) -> None:
    """Rule, models, reason and the time to the nanosecond come out of the record, however late the clock was."""
    rows = data.draw(st.integers(1, 3))
    scores = data.draw(arrivals(rows))
    budget_s = data.draw(st.sampled_from([0.018, 0.018, 0.0123, 0.004]))
    lateness_s = [each * 1e-6 for each in data.draw(st.lists(st.integers(-1000, 9000), max_size=4))]
    asks = {
        "context": data.draw(st.sampled_from([{}, {"customer": "7"}])),
        "force": data.draw(st.sampled_from([None, None, "b"])),
    }
    mailbox, decision, recorded = live(spec, scores, rows=rows, budget_s=budget_s, lateness_s=lateness_s, **asks)
    request = RecordedRequest(
        "r",
        rows,
        round(budget_s * 1e9),
        tuple(recorded),
        RecordedDecision(
            decision.rule,
            decision.models,
            round(decision.decided_at * 1e9),
            round(decision.due_at * 1e9),
            None,
            "NO_ANSWER",
        ),
        deadline_s=spec.policy.deadline_s,
        **asks,
    )
    verdict = Trial(spec).decide(request)
    assert (verdict.rule, verdict.models, verdict.reason) == (decision.rule, decision.models, decision.reason)
    assert verdict.decided_after_ns / 1e9 == decision.decided_at
    assert mailbox.decision is decision
