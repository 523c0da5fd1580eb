"""The pacer, in virtual time: clients that wait for their answers, parcels that take as long as they cost."""

import heapq
from itertools import count

import pytest
from rendezvous_router.pacing import DEADLINE_SHARE, INTERVAL_S, NEVER, WORK_ROWS, WORK_S, Pacer, RowCost

ROUND_TRIP_S = 0.002
BUDGET_S = 1.0


class Outcome:
    """What came of a simulated closed loop of clients."""

    def __init__(self) -> None:
        self.parcels: list[int] = []
        self.waits_s: list[float] = []


def simulate(clients: int, *, answers: int = 3000, per_request_s: float = 0.0002) -> Outcome:
    """Runs *clients* that each send a request, wait for its answer, and send the next."""
    pacer, outcome, order = Pacer(), Outcome(), count()
    events: list[tuple[float, int, str, list[float]]] = []
    for client in range(clients):
        heapq.heappush(events, (client * per_request_s, next(order), "arrive", []))
    waiting: list[float] = []
    unanswered = answered = 0
    while answered < answers:
        now, _, kind, arrived = heapq.heappop(events)
        if kind == "arrive":
            unanswered += 1
            waiting.append(now)
            due = pacer.arrive(now, budget_s=BUDGET_S, unanswered=unanswered)
            heapq.heappush(events, (max(now, due), next(order), "pace", []))
        elif kind == "pace" and waiting and pacer.due() <= now:
            outcome.parcels.append(len(waiting))
            outcome.waits_s += [now - at for at in waiting]
            heapq.heappush(events, (now + ROUND_TRIP_S, next(order), "answer", waiting))
            waiting = []
            pacer.seal(now)
        elif kind == "answer":
            pacer.settle(ROUND_TRIP_S)
            answered += len(arrived)
            unanswered -= len(arrived)
            for number in range(len(arrived)):
                heapq.heappush(events, (now + number * per_request_s, next(order), "arrive", []))
    return outcome


def test_a_lone_client_never_waits() -> None:
    """With one client each request is sealed at the moment of its arrival."""
    outcome = simulate(1, answers=200)
    assert outcome.parcels == [1] * 200
    assert max(outcome.waits_s) == 0.0


@pytest.mark.parametrize(("clients", "least_mean"), [(4, 1.5), (16, 5.0), (64, 20.0), (256, 40.0)])
def test_parcels_grow_with_the_crowd(clients: int, least_mean: float) -> None:
    """The more clients wait, the more requests travel together; and nobody waits longer than the interval."""
    outcome = simulate(clients)
    settled = outcome.parcels[len(outcome.parcels) // 4 :]
    assert sum(settled) / len(settled) >= least_mean
    assert max(outcome.waits_s) <= INTERVAL_S + 1e-9


def test_no_request_waits_longer_than_its_share_of_the_deadline() -> None:
    """A request with little time left pulls the seal forward for all that wait."""
    pacer = Pacer()
    pacer.arrive(0.0, budget_s=10.0, unanswered=1)
    pacer.seal(0.0)
    for _ in range(30):
        pacer.settle(0.5)
    patient = pacer.arrive(0.001, budget_s=10.0, unanswered=40)
    hurried = pacer.arrive(0.002, budget_s=0.05, unanswered=41)
    assert patient > 0.1
    assert hurried == pytest.approx(0.002 + DEADLINE_SHARE * 0.05)


def test_a_system_that_falls_behind_gets_fewer_parcels() -> None:
    """When round trips grow, the interval grows with them, beyond the usual limit."""
    pacer = Pacer()
    pacer.arrive(0.0, budget_s=10.0, unanswered=8)
    for _ in range(30):
        pacer.settle(0.4)
    assert pacer.interval_s() == pytest.approx(0.1, rel=0.01)


def test_the_crowd_is_forgotten() -> None:
    """Half a second after a rush a lone client is a lone client again."""
    pacer = Pacer()
    pacer.arrive(0.0, budget_s=1.0, unanswered=64)
    pacer.seal(0.0)
    pacer.settle(ROUND_TRIP_S)
    assert pacer.arrive(0.5, budget_s=1.0, unanswered=1) <= 0.5


def test_nothing_is_due_while_nobody_waits() -> None:
    """An empty desk plans no seal."""
    assert Pacer().due() == NEVER


def test_a_parcel_is_full_when_its_rows_are_work_enough_for_the_slowest_model() -> None:
    """Rows that cost much fill a parcel early, but not below a few; rows that are cheap together do not."""
    cost = RowCost()
    assert not cost.fills(100_000)
    cost.note("quick", rows=100, scoring_s=0.001)
    assert not cost.fills(1000)
    cost.note("dear", rows=1, scoring_s=0.02)
    assert [cost.fills(rows) for rows in (WORK_ROWS - 1, WORK_ROWS)] == [False, True]
    cost.note("dear", rows=100, scoring_s=0.02)
    assert [cost.fills(rows) for rows in (100, round(WORK_S / 0.0002))] == [False, True]


def test_the_cost_of_rows_is_that_of_the_models_that_are_there() -> None:
    """A model that is taken out of the endpoint is forgotten, and one that claims to take no time is not believed."""
    cost = RowCost()
    cost.note("dear", rows=1, scoring_s=0.5)
    cost.note("quick", rows=1, scoring_s=0.0)
    assert cost.fills(WORK_ROWS)
    cost.keep(["quick"])
    assert not cost.fills(WORK_ROWS)
    for _ in range(5000):
        cost.note("quick", rows=1, scoring_s=0.02)
    assert cost.fills(WORK_ROWS)
