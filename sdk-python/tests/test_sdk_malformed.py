"""Parcels that contradict themselves, claim too much or are answered with too much."""

import logging
from typing import Any

import numpy as np
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import ErrorCode, TooLargeError
from rendezvous_proto.postbox import MAX_PARCEL_BYTES
from rendezvous_sdk.model import as_model
from rendezvous_sdk.scoring import Delivery, ParcelScorer

FP64 = v1.DataType.DATA_TYPE_FP64
LATE, IN_TIME = 10, 10**9


def count(table: dict[str, Any]) -> dict[str, Any]:
    """Zeros, one for each row."""
    return {"p": np.zeros(len(next(iter(table.values()))))}


def fail(_table: dict[str, Any]) -> None:
    """Always fails, at length."""
    raise ValueError("x" * 290)


def fail_unless_wide(table: dict[str, Any]) -> dict[str, Any]:
    """Fails where x is 0, gives 200 KB for one row else."""
    if not table["x"].all():
        raise ValueError("x" * 290)
    return {"wide": np.zeros((len(table["x"]), 25_000))}


def scorer(score: Any = count, **options: Any) -> ParcelScorer:
    """A scorer with the postbox's limit."""
    named: dict[str, Any] = {"endpoint": "e", "name": "m", "version": "1", "replica": "r"}
    return ParcelScorer(as_model(score), **named, max_bytes=MAX_PARCEL_BYTES, **options)


def delivery(inputs: v1.Frame, *items: tuple[int, int], **fields: Any) -> Delivery:
    """A parcel that is 1 ms old; items are rows and budget."""
    made = [v1.ParcelItem(request_id="0" * 36, rows=rows, budget_us=budget, **fields) for rows, budget in items]
    return Delivery(parcel=v1.Parcel(parcel_id="p", router="r", items=made, inputs=inputs), age_us=1000)


def codes(score: v1.ParcelScore) -> set[int]:
    """Error codes of the items, 0 where there is none."""
    return {int(item.error.code) for item in score.items}


@pytest.mark.parametrize("budget_us", [LATE, IN_TIME], ids=["some expired", "none expired"])
@pytest.mark.parametrize("is_joined", [False, True])
@pytest.mark.parametrize(
    "column",
    [
        v1.Column(name="x", type=99, values=bytes(16)),  # type: ignore[arg-type] # that is the point
        v1.Column(name="x", values=bytes(16)),
        v1.Column(name="x", type=FP64, shape=[-1], values=bytes(16)),
        v1.Column(name="x", type=FP64, shape=[2**62, 4], values=bytes(16)),
        v1.Column(name="x", type=v1.DataType.DATA_TYPE_STRING, strings=["a"]),
        v1.Column(name="x", type=FP64, values=bytes(8)),
    ],
    ids=["type 99", "no type", "negative shape", "huge shape", "short strings", "short values"],
)
def test_a_malformed_parcel_is_refused_as_a_whole(column: v1.Column, is_joined: bool, budget_us: int) -> None:
    """All its items alike, expired or not; what waited beside it is scored."""
    bad = delivery(v1.Frame(rows=2, columns=[column]), (1, budget_us), (1, IN_TIME))
    good = delivery(v1.Frame(rows=1, columns=[v1.Column(name="x", type=FP64, values=bytes(8))]), (1, IN_TIME))
    scores = scorer().score_parcels([bad, good] if is_joined else [bad])
    assert codes(scores[0]) == {ErrorCode.INVALID_FRAME}
    assert all(codes(score) == {0} for score in scores[1:])


@pytest.mark.parametrize("rows", [1_000_001, 2**40, 2**62])
def test_rows_that_cost_no_bytes_are_limited(rows: int) -> None:
    """A column of width 0 may claim any number of rows: refused before anything is made of them."""
    frame = v1.Frame(rows=rows, columns=[v1.Column(name="x", type=FP64, shape=[0])])
    (score,) = scorer().score_parcels([delivery(frame, (rows, IN_TIME))])
    assert codes(score) == {ErrorCode.TOO_LARGE}
    assert "limit is 1000000" in score.items[0].error.message
    with pytest.raises(TooLargeError, match="limit is 1000000"):
        scorer().score_request(frame)


def test_the_limit_of_rows_can_be_set() -> None:
    """So many rows are scored, one more is not."""
    frame = v1.Frame(rows=3, columns=[v1.Column(name="x", type=FP64, shape=[0])])
    assert codes(scorer(max_rows=3).score_parcels([delivery(frame, (3, IN_TIME))])[0]) == {0}
    assert codes(scorer(max_rows=2).score_parcels([delivery(frame, (3, IN_TIME))])[0]) == {ErrorCode.TOO_LARGE}


def test_a_fault_of_the_sdk_is_answered(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is raised outside of the model is INTERNAL for that parcel alone; its trace goes to the log."""
    honest = ParcelScorer._refusal_of

    def refusal_of(self: ParcelScorer, work: Any, **options: Any) -> Any:
        if work.delivery.sequence == 7:
            raise KeyError("x")
        return honest(self, work, **options)

    monkeypatch.setattr(ParcelScorer, "_refusal_of", refusal_of)
    frame = v1.Frame(rows=1, columns=[v1.Column(name="x", type=FP64, values=bytes(8))])
    good = delivery(frame, (1, IN_TIME))
    scores = scorer().score_parcels([good, Delivery(parcel=good.parcel, sequence=7), good])
    assert [codes(score) for score in scores] == [{0}, {ErrorCode.INTERNAL}, {0}]
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("items", [1000, 3000, 8000, 12_000])
def test_many_errors_fit(items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests fail at length, the score fits and says MODEL_FAILED."""
    monkeypatch.setattr("rendezvous_sdk.scoring._SPLITTING_LIMIT_S", -1.0)
    column = v1.Column(name="x", type=v1.DataType.DATA_TYPE_BOOL, values=bytes(items))
    traced = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"} if items < 8000 else {}
    many = delivery(v1.Frame(rows=items, columns=[column]), *[(1, IN_TIME)] * items, **traced)
    (score,) = scorer(fail).score_parcels([many])
    assert score.ByteSize() <= MAX_PARCEL_BYTES
    assert codes(score) == {ErrorCode.MODEL_FAILED}
    assert all(item.error.message.startswith("the model raised") for item in score.items)


def test_outputs_that_do_not_fit_are_too_large(caplog: pytest.LogCaptureFixture) -> None:
    """Requests whose outputs are too large together say so; one that failed by itself keeps its code."""
    values = np.array([1.0] * 5 + [0.0]).tobytes()
    frame = v1.Frame(rows=6, columns=[v1.Column(name="x", type=FP64, values=values)])
    with caplog.at_level(logging.CRITICAL):
        (score,) = scorer(fail_unless_wide).score_parcels([delivery(frame, *[(1, IN_TIME)] * 6)])
    assert [int(item.error.code) for item in score.items] == [ErrorCode.TOO_LARGE] * 5 + [ErrorCode.MODEL_FAILED]
    assert f"limit is {MAX_PARCEL_BYTES}" in score.items[0].error.message
    assert {item.rows for item in score.items} == {0}
    assert not score.HasField("outputs")
