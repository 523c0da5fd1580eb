"""The stages of a parcel: what is joined, what stands in for what did not come, and who goes no further."""

from typing import Any

import pytest
from rendezvous.spec import parse_spec
from rendezvous_proto.errors import NoAnswerError, TooLargeError
from rendezvous_proto.frames import FrameView, encode_frame
from rendezvous_proto.postbox import MAX_PARCEL_BYTES
from rendezvous_proto.v1 import Frame, ItemScore, ParcelItem, ParcelScore, ScoreRequest
from rendezvous_router.checker import AcceptedFrame
from rendezvous_router.endpoint import compile_endpoint
from rendezvous_router.enriching import divide
from rendezvous_router.enrichment import Enrichment
from rendezvous_router.enrichment_plan import EnrichmentPlan
from rendezvous_router.parcels import OpenParcel, Request
from rendezvous_router.scores import take_score

IDS, ROWS = ["r0", "r1", "r2"], [1, 2, 1]
INPUTS = encode_frame({"a": [1, 2, 3, 4], "t": ["w", "x", "y", "z"]})
HISTORY: dict[str, Any] = {
    "outputs": [{"name": "loans", "type": "INT64"}, {"name": "v", "type": "FP32", "shape": [2], "missing": True}],
    "budget": "20ms",
    "otherwise": {"loans": -1, "v": None},
}
RATING: dict[str, Any] = {
    "outputs": [{"name": "rating", "type": "STRING"}],
    "budget": "10ms",
    "otherwise": {"rating": "none"},
    "stage": 2,
    "inputs": ["loans"],
}


def plan_of(**enrichers: dict[str, Any]) -> EnrichmentPlan:
    """Returns the plan of an endpoint with a deadline of 100 ms."""
    spec = parse_spec(
        {
            "endpoint": "e",
            "inputs": [{"name": "a", "type": "INT64"}, {"name": "t", "type": "STRING"}],
            "outputs": [{"name": "y", "type": "FP64"}],
            "models": {"m": {}},
            "policy": {"deadline": "100ms"},
            "enrichers": enrichers,
        }
    )
    plan = compile_endpoint(spec, 1).enrichment
    assert plan is not None
    return plan


def begun(plan: EnrichmentPlan, *, left_s: float = 0.1) -> Enrichment:
    """Returns three requests of 1, 2 and 1 rows at the beginning of the first stage, at time 0."""
    enrichment = Enrichment(plan, INPUTS, list(ROWS))
    enrichment.begin(0.0, left_s)
    return enrichment


def answer(
    enrichment: Enrichment,
    name: str,
    outputs: Frame,
    at: float = 0.001,
    *,
    failed: tuple[int, ...] = (),
    ids: Any = IDS,
) -> bool:
    """Has an enricher answer; *failed* requests with an error."""
    score = ParcelScore(model=name, version="7", outputs=outputs)
    for index, (request_id, rows) in enumerate(zip(ids, enrichment.rows, strict=True)):
        item = ItemScore(request_id=request_id, rows=0 if index in failed else rows)
        if index in failed:
            item.error.code, item.error.message = 13, "no such customer"  # type: ignore[assignment] # a number does
        score.items.append(item)
    parcel = OpenParcel("p", None, [], list(ids), list(enrichment.rows), sum(enrichment.rows), 0.0, 1.0, 0)  # type: ignore[arg-type] # not looked at
    return enrichment.take(name, take_score(score, parcel, at, enrichment.stage.enrichers[name].outputs))


def loans(*values: int) -> Frame:
    """Returns what `history` answers."""
    return encode_frame({"v": [[value, 0.5] for value in values], "loans": list(values)}, types={"v": "FP32"})


def seen(enrichment: Enrichment) -> dict[str, list[Any]]:
    """Returns the columns as the models would see them."""
    view = FrameView(enrichment.frame)
    return {name: view.column(name) for name in view.names}


def test_two_stages_join_their_columns_and_say_who_did() -> None:
    """The second stage sees of the first what it needs; at the end all columns are there, in the declared order."""
    enrichment = begun(plan_of(history=HISTORY, rating=RATING))
    assert answer(enrichment, "history", loans(10, 20, 30, 40))
    assert enrichment.is_complete
    result = enrichment.finish()
    assert (result.kept, result.ended, result.defaults) == ([0, 1, 2], [], {})
    assert not enrichment.is_last
    shown = enrichment.begin(0.005, 0.095)
    assert FrameView(shown).names == ("loans",)
    assert answer(enrichment, "rating", encode_frame({"rating": ["p", "q", "r", "s"]}), 0.006)
    enrichment.finish()
    assert enrichment.is_last
    assert list(seen(enrichment)) == ["a", "t", "loans", "v", "rating"]
    assert seen(enrichment)["loans"] == [10, 20, 30, 40]
    assert seen(enrichment)["v"][3] == [40.0, 0.5]
    assert [(note.component, note.version) for note in enrichment.provenance[1]] == [
        ("enricher:history", "7"), ("enricher:rating", "7"),
    ]  # fmt: skip


def test_silent_late_failed_and_misfit_get_defaults_request_by_request() -> None:
    """Each request has its own reason; the others' columns are the enricher's."""
    quick = {**HISTORY, "outputs": [{"name": "q", "type": "INT64"}], "budget": "5ms", "otherwise": {"q": 0}}
    enrichment = begun(
        plan_of(
            history=HISTORY,
            quick=quick,
            silent={**quick, "outputs": [{"name": "s", "type": "BOOL"}], "otherwise": {"s": True}},
        )
    )
    assert not answer(enrichment, "quick", encode_frame({"q": [1, 2, 3, 4]}), 0.006), "its own budget was over"
    assert answer(enrichment, "history", loans(20, 30, 40), failed=(0,))
    assert not enrichment.is_complete
    assert enrichment.due_at == pytest.approx(0.005)
    result = enrichment.finish()
    assert result.defaults == {("history", "MODEL_FAILED"): 1, ("quick", "LATE"): 3, ("silent", "LATE"): 3}
    assert seen(enrichment) == {
        "a": [1, 2, 3, 4],
        "t": ["w", "x", "y", "z"],
        "loans": [-1, 20, 30, 40],
        "v": [None, [20.0, 0.5], [30.0, 0.5], [40.0, 0.5]],
        "q": [0] * 4,
        "s": [True] * 4,
    }
    assert [(note.component, note.version) for note in enrichment.provenance[0]] == [
        ("default:history", "MODEL_FAILED"), ("default:quick", "LATE"), ("default:silent", "LATE"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "outputs",
    [
        encode_frame({"loans": [1, 2, 3, 4]}),
        encode_frame({"loans": ["1", "2", "3", "4"], "v": [[0.0, 0.0]] * 4}, types={"v": "FP32"}),
        loans(1, 2, 3),
        Frame(rows=4),
    ],
    ids=["column absent", "other type", "too few rows", "nothing"],
)
def test_misfit_counts_as_failed(outputs: Frame) -> None:
    """What the specification does not declare is not joined, whatever the enricher says."""
    enrichment = begun(plan_of(history=HISTORY))
    answer(enrichment, "history", outputs)
    assert enrichment.finish().defaults == {("history", "INVALID_OUTPUT"): 3}
    assert seen(enrichment)["loans"] == [-1] * 4


def test_other_ids_count_as_failed() -> None:
    """An answer to other requests is nobody's."""
    enrichment = begun(plan_of(history=HISTORY))
    score = ParcelScore(model="history", items=[ItemScore(request_id="x", rows=4)], outputs=loans(1, 2, 3, 4))
    parcel = OpenParcel("p", None, [], IDS, ROWS, 4, 0.0, 1.0, 0)  # type: ignore[arg-type] # not looked at
    taken = take_score(score, parcel, 0.001, enrichment.stage.enrichers["history"].outputs)
    enrichment.take("history", taken)
    assert enrichment.finish().defaults == {("history", "INVALID_OUTPUT"): 3}


def test_request_ends_where_the_failure_is_its_own() -> None:
    """With `error` the failed request leaves, with its rows; the next stage has the others alone."""
    enrichment = begun(plan_of(history={**HISTORY, "otherwise": "error"}, rating=RATING))
    answer(enrichment, "history", loans(10, 40), failed=(1,))
    result = enrichment.finish()
    assert result.kept == [0, 2]
    ((place, name, error),) = [(ended.index, ended.enricher, ended.error) for ended in result.ended]
    assert (place, name) == (1, "history")
    assert isinstance(error, NoAnswerError)
    assert "enricher history failed (MODEL_FAILED: no such customer)" in error.message
    assert seen(enrichment)["a"] == [1, 4]
    enrichment.begin(0.005, 0.09)
    answer(enrichment, "rating", encode_frame({"rating": ["p", "q"]}), 0.006, ids=["r0", "r2"])
    enrichment.finish()
    assert seen(enrichment)["rating"] == ["p", "q"]
    assert len(enrichment.provenance) == 2


def test_silent_enricher_ends_all_where_there_are_no_values() -> None:
    """Nobody goes on, and each is told how long was waited."""
    enrichment = begun(plan_of(history={**HISTORY, "otherwise": "error"}))
    result = enrichment.finish()
    assert (result.kept, [ended.index for ended in result.ended]) == ([], [0, 1, 2])
    assert "had not answered within 20 ms" in result.ended[0].error.message


@pytest.mark.parametrize(("left_s", "due_at"), [(0.1, 0.02), (0.0375, 0.02), (0.01875, 0.01), (0.0, 0.0)])
def test_budgets_are_cut_where_little_time_is_left(left_s: float, due_at: float) -> None:
    """All stages take 80 % of what is left at most, each in proportion."""
    enrichment = begun(plan_of(history=HISTORY, rating=RATING), left_s=left_s)
    assert enrichment.due_at == pytest.approx(due_at)
    assert (enrichment.plan.haste(left_s) > 0) is (left_s < 0.0375)
    enrichment.finish()
    enrichment.begin(1.0, 0.0)
    assert enrichment.due_at - 1.0 == pytest.approx(due_at / 2), "the second stage's by the same share"


@pytest.mark.parametrize("size_bytes", [0, 120, 170, 200, 300])
def test_parcel_with_its_notes_fits_into_a_message(size_bytes: int) -> None:
    """What is noted of the requests counts too: many small requests with long names make no message too large."""
    count, name = 3000, "n" * 64
    history = {"outputs": [{"name": "h", "type": "STRING"}], "budget": "20ms", "otherwise": {"h": ""}}
    rows = encode_frame({"a": [1] * count, "t": ["x"] * count})
    enrichment = Enrichment(plan_of(**{name: history}), rows, [1] * count, overhead_bytes=50 * count)
    enrichment.begin(0.0, 0.1)
    ids = [f"r{number}" for number in range(count)]
    answer(enrichment, name, encode_frame({"h": ["h" * size_bytes] * count}), ids=ids)
    assert len(enrichment.finish().kept) == count
    notes_bytes = sum(ParcelItem(provenance=notes).ByteSize() for notes in enrichment.provenance)
    assert enrichment.frame.ByteSize() + 50 * count + notes_bytes <= MAX_PARCEL_BYTES


def test_requests_travel_with_those_of_like_haste() -> None:
    """No budget is cut to less than half of what its request has time for, however little time others have."""
    plan = plan_of(history=HISTORY, rating=RATING)
    lefts_s = [0.1, 0.036, 0.002, 0.03, 0.009, 0.0375, 0.012, -1.0, 0.016, 0.005]
    requests = [
        Request(f"r{left_s}", ScoreRequest(), None, AcceptedFrame(INPUTS, None), 4, 0.0, 0, left_s, None)  # type: ignore[arg-type] # not looked at
        for left_s in lefts_s
    ]
    groups = [[request.deadline_at for request in group] for group in divide(plan, requests, 0.0)]
    assert groups == [[0.1, 0.0375], [0.036, 0.03], [0.012, 0.016], [0.009, 0.005], [0.002, -1.0]]


def test_columns_that_do_not_fit_into_a_message_are_replaced() -> None:
    """Texts of any length cost that enricher its columns; rows that do not fit even with defaults end."""
    enrichment = begun(plan_of(rating={**RATING, "stage": 1, "inputs": ["a"]}))
    answer(enrichment, "rating", encode_frame({"rating": ["x" * MAX_PARCEL_BYTES] * 4}))
    assert enrichment.finish().defaults == {("rating", "TOO_LARGE"): 3}
    assert seen(enrichment)["rating"] == ["none"] * 4

    enrichment = begun(plan_of(rating={**RATING, "stage": 1, "inputs": ["a"]}))
    answer(enrichment, "rating", encode_frame({"rating": ["w", "x" * MAX_PARCEL_BYTES, "y", "z"]}))
    assert enrichment.finish().defaults == {("rating", "TOO_LARGE"): 1}
    assert seen(enrichment)["rating"] == ["w", "none", "none", "z"], "what others have keeps its place"

    enrichment = begun(plan_of(rating={**RATING, "stage": 1, "inputs": ["a"]}))
    enrichment.overhead_bytes = MAX_PARCEL_BYTES - INPUTS.ByteSize()
    result = enrichment.finish()
    assert result.kept == []
    assert all(isinstance(ended.error, TooLargeError) for ended in result.ended)
