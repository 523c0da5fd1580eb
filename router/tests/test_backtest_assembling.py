"""Recorded requests are put together as the router saw them, and as it would have seen what came later."""

from typing import Any

import pyarrow as pa
import pytest
from rendezvous.spec import ColumnSpec
from rendezvous_router.backtest.assembling import PieceAssembly

OUTPUTS = [ColumnSpec(name="p", type="FP64")]


def arrival(model: str, after_ns: int, status: str = "scored", code: str | None = None) -> dict[str, Any]:
    """One model as the decision has it."""
    return {
        "model": model, "version": "1", "status": status, "after_us": after_ns // 1000, "after_ns": after_ns,
        "error_code": code, "error_message": None,
    }  # fmt: skip


def assembly(arrivals: list[dict[str, Any]], said: list[tuple[str, int, float | None, str | None]]) -> PieceAssembly:
    """One request, accepted 2 ms before its parcel was sealed, decided after 10 ms, with these scores in the record."""
    decision = {
        "n": 0, "request_id": "r", "parcel_id": "x", "rule": "steps[0].best", "models": ["a"], "spec_revision": 1,
        "router": "west", "decided_after_us": 10_000, "decided_after_ns": 10_000_000, "due_after_ns": 9_000_000,
        "budget_ns": 95_000_000, "deadline_left_us": 85_000, "error_code": None, "rows": 1, "stream_sequence": 5,
        "batch_index": 0, "arrivals": arrivals, "p": [0.5],
    }  # fmt: skip
    asked = {"n": 0, "context": [("k", "v")], "force_model": None, "stored_us": 1_000, "due_us": 94_000}
    scores = [
        {
            "n": 0, "model": model, "version": "1", "error_code": code, "error_message": None, "after_us": after_us,
            "score_sequence": number, "delivery": 1, "p": value,
        }
        for number, (model, after_us, value, code) in enumerate(said)
    ]  # fmt: skip
    names = pa.schema([("p", pa.float64()), ("error_code", pa.string()), ("error_message", pa.string())])
    table = pa.Table.from_pylist(scores)
    for field in names:
        table = table.set_column(table.schema.get_field_index(field.name), field, table[field.name].cast(field.type))
    return PieceAssembly(pa.Table.from_pylist([decision]), pa.Table.from_pylist([asked]), table, OUTPUTS, {})


LATE = [
    ("b", 30_000, 0.7, None, 33_000_000, None),  # 3 ms more than the broker's, as for a
    ("b", 5_000, 0.7, None, 10_000_001, None),  # not before the decision, which did not see it
    ("b", 30_000, float("nan"), None, 33_000_000, 14),  # the signature has no NaN
    ("b", 30_000, None, None, 33_000_000, 14),  # nor missing values
    ("b", 30_000, None, "MODEL_FAILED", 33_000_000, 13),
]


@pytest.mark.parametrize(("model", "after_us", "value", "code", "came_ns", "failure"), LATE)
def test_a_late_score_comes_when_the_broker_and_the_others_tell(
    model: str, after_us: int, value: float | None, code: str | None, came_ns: int, failure: int | None
) -> None:
    """Its moment is moved by what the known ones differ, it is told as derived, and judged as the router would have."""
    arrivals = [arrival("a", 9_000_000), arrival("b", 0, "pending")]
    request = assembly(arrivals, [("a", 6_000, 0.5, None), (model, after_us, value, code)]).request(0, 0.1)
    assert request is not None
    first, second = request.arrivals
    assert (first.score.model, first.after_ns, first.is_exact) == ("a", 9_000_000, True)
    assert (second.score.model, second.after_ns, second.is_exact) == ("b", came_ns, False)
    assert (second.score.error.code if second.score.error else None) == failure
    assert (request.context, request.budget_ns, request.deadline_s) == ({"k": "v"}, 95_000_000, 0.1)


def test_without_a_known_moment_the_wait_for_the_parcel_counts() -> None:
    """Of a request that nobody had answered: 2 ms from acceptance to its parcel, and what the broker tells."""
    request = assembly([arrival("a", 0, "pending")], [("a", 20_000, 0.5, None)]).request(0, None)
    assert request is not None
    assert [(each.after_ns, each.is_exact) for each in request.arrivals] == [(22_000_000, False)]


def test_a_lost_score_is_found_in_the_answer_or_leaves_the_request_out() -> None:
    """The answer is the lost score of the model that gave it; one that only came in time makes the request useless."""
    request = assembly([arrival("a", 9_000_000)], [("c", 1_000, 0.1, None)]).request(0, None)
    assert request is not None
    score = next(each.score for each in request.arrivals if each.score.model == "a")
    assert score.columns is not None
    assert list(score.columns.column("p")) == [0.5]
    arrivals = [arrival("a", 9_000_000), arrival("b", 8_000_000)]
    assert assembly(arrivals, [("a", 6_000, 0.5, None)]).request(0, None) is None


def test_what_the_router_refused_stays_refused() -> None:
    """A score that is valid in the record, and was not for the router, has failed."""
    arrivals = [arrival("a", 9_000_000, "failed", "INVALID_OUTPUT")]
    request = assembly(arrivals, [("a", 6_000, 0.5, None)]).request(0, None)
    assert request is not None
    assert [each.score.error.code for each in request.arrivals if each.score.error] == [14]
