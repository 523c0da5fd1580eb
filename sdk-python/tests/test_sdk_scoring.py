"""Parcels to scores, by the in-memory postbox, which runs the server's code."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import ErrorCode, InvalidOutputError, ModelFailedError, RendezvousError
from rendezvous_proto.frames import FrameView
from rendezvous_sdk import model, testing
from rendezvous_sdk.options import MAX_DELIVER


def halve(table: dict[str, Any]) -> dict[str, Any]:
    """Gives half of x; refuses negative x."""
    if (table["x"] < 0).any():
        raise ValueError("x is negative\n  in some row")
    return {"half": table["x"] / 2}


def codes(score: v1.ParcelScore) -> list[int]:
    """Error codes of the items, 0 where there is none."""
    return [int(item.error.code) for item in score.items]


def test_a_parcel_is_scored_as_one_table() -> None:
    """All requests of a parcel reach the model in one call, and each gets its rows in order."""
    calls: list[int] = []

    def count(table: dict[str, Any]) -> dict[str, Any]:
        calls.append(len(table["x"]))
        return {"half": table["x"] / 2}

    with testing.Postbox(count, endpoint="e", name="m", version="2.1") as box:
        parcel = box.parcel({"x": [2.0, 4.0]}, {"x": [6.0]})
        score = box.deliver(parcel)
    assert calls == [3]
    assert [item.rows for item in score.items] == [2, 1]
    assert [item.request_id for item in score.items] == [item.request_id for item in parcel.items]
    assert FrameView(score.outputs)["half"].tolist() == [1.0, 2.0, 3.0]
    assert (score.endpoint, score.model, score.version, score.delivery) == ("e", "m", "2.1", 1)
    assert score.parcel_id == parcel.parcel_id


def test_waiting_parcels_are_scored_together_and_answered_apart() -> None:
    """Several parcels become one table; each gets its own score."""
    calls: list[int] = []

    def count(table: dict[str, Any]) -> dict[str, Any]:
        calls.append(len(table["x"]))
        return {"half": table["x"] / 2}

    with testing.Postbox(count) as box:
        parcels = [box.parcel({"x": [1.0 * i]}, {"x": [10.0 * i]}) for i in range(3)]
        scores = box.deliver_together(*parcels)
    assert calls == [6]
    assert [FrameView(score.outputs)["half"].tolist() for score in scores] == [
        [0.0, 0.0],
        [0.5, 5.0],
        [1.0, 10.0],
    ]


def test_parcels_with_other_columns_are_scored_apart() -> None:
    """A change of the specification between two parcels harms neither."""
    with testing.Postbox(lambda table: {"n": np.full(len(next(iter(table.values()))), len(table))}) as box:
        scores = box.deliver_together(box.parcel({"x": [1.0]}), box.parcel({"x": [1.0], "y": [1.0]}))
    assert [FrameView(score.outputs)["n"].tolist() for score in scores] == [[1], [2]]


@pytest.mark.parametrize("bad", [[0], [63], [5, 6], [0, 31, 32, 63], list(range(64))])
def test_a_bad_row_fails_alone(bad: list[int], caplog: pytest.LogCaptureFixture) -> None:
    """Only the requests with a bad row fail, with the author's message in one line and no stack trace."""
    tables = [{"x": [-1.0 if index in bad else float(index), 1.0]} for index in range(64)]
    with testing.Postbox(halve) as box, caplog.at_level(logging.WARNING):
        score = box.deliver(box.parcel(*tables))
    assert [index for index, code in enumerate(codes(score)) if code] == bad
    for index in bad:
        error = score.items[index].error
        assert error.message == "the model raised ValueError: x is negative in some row"
        assert (int(error.code), score.items[index].rows) == (ErrorCode.MODEL_FAILED, 0)
    good = [index for index in range(64) if index not in bad]
    if good:
        expected = [value for index in good for value in (index / 2, 0.5)]
        assert FrameView(score.outputs)["half"].tolist() == expected
    assert any(record.exc_info for record in caplog.records)


def test_splitting_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that fails slowly on everything is not called twice for every request."""
    monkeypatch.setattr("rendezvous_sdk.scoring._SPLITTING_LIMIT_S", -1.0)
    calls: list[int] = []

    def fail(table: dict[str, Any]) -> None:
        calls.append(len(table["x"]))
        raise ValueError("no")

    with testing.Postbox(fail) as box:
        score = box.deliver(box.parcel(*[{"x": [1.0]}] * 64))
    assert len(calls) == 1
    assert set(codes(score)) == {ErrorCode.MODEL_FAILED}


def test_items_that_expired_before_delivery_are_skipped() -> None:
    """The broker's clock decides; late items never reach the model, the others are scored."""
    seen: list[float] = []

    def note(table: dict[str, Any]) -> dict[str, Any]:
        seen.extend(table["x"])
        return {"half": table["x"] / 2}

    with testing.Postbox(note) as box:
        parcel = box.parcel({"x": [1.0]}, {"x": [2.0, 3.0]}, {"x": [4.0]}, budget_s=1.0)
        parcel.items[1].budget_us = 300_000
        box.advance(0.3)
        score = box.deliver(parcel)
    assert seen == [1.0, 4.0]
    assert codes(score) == [0, ErrorCode.EXPIRED, 0]
    assert [item.rows for item in score.items] == [1, 0, 1]
    assert FrameView(score.outputs)["half"].tolist() == [0.5, 2.0]


def test_wholly_expired_parcels_do_not_reach_the_model() -> None:
    """Nothing is scored when every item had expired."""
    with testing.Postbox(lambda table: pytest.fail("scored")) as box:
        parcel = box.parcel({"x": [1.0]}, budget_s=0.1)
        box.advance(0.2)
        score = box.deliver(parcel)
    assert codes(score) == [ErrorCode.EXPIRED]
    assert not score.HasField("outputs")


def test_redelivery_is_counted_and_ends() -> None:
    """A parcel that never gets an answer is refused at its last delivery, without asking the model again."""
    with testing.Postbox(halve) as box:
        parcel = box.parcel({"x": [1.0]}, budget_s=60)
        deliveries = [box.deliver(parcel) for _ in range(MAX_DELIVER)]
    assert [score.delivery for score in deliveries] == list(range(1, MAX_DELIVER + 1))
    assert [codes(score) for score in deliveries] == [[0]] * (MAX_DELIVER - 1) + [[ErrorCode.MODEL_FAILED]]


def _torn(parcel: v1.Parcel) -> None:
    parcel.inputs.columns[0].values = b"123"


def _wrong_rows(parcel: v1.Parcel) -> None:
    parcel.items[0].rows = 2


def _negative_rows(parcel: v1.Parcel) -> None:
    parcel.items[0].rows = -1
    parcel.items[1].rows = 3


@pytest.mark.parametrize("spoil", [_torn, _wrong_rows, _negative_rows])
def test_a_malformed_parcel_harms_no_other(spoil: Callable[[v1.Parcel], None]) -> None:
    """Its items are refused; a sound parcel that waited with it is scored."""
    with testing.Postbox(halve) as box:
        bad, good = box.parcel({"x": [1.0]}, {"x": [2.0]}), box.parcel({"x": [4.0]})
        spoil(bad)
        scores = box.deliver_together(bad, good)
    assert codes(scores[0]) == [ErrorCode.INVALID_FRAME] * 2
    assert FrameView(scores[1].outputs)["half"].tolist() == [2.0]


def test_a_score_that_is_too_large_is_an_error() -> None:
    """What would not fit in a message is answered with TOO_LARGE and the limit."""
    with testing.Postbox(lambda table: {"text": ["x" * 600_000] * len(table["x"])}) as box:
        score = box.deliver(box.parcel({"x": [1.0]}, {"x": [1.0]}))
    assert codes(score) == [ErrorCode.TOO_LARGE] * 2
    assert "limit is 1048576" in score.items[0].error.message
    assert not score.HasField("outputs")


@pytest.mark.parametrize(
    ("output", "outputs", "message"),
    [
        ({"p": [1.0]}, None, "column 'p' has 1 values for 2 rows"),
        ({"p": 1.0}, None, "column 'p' has a single value for 2 rows"),
        ({"p": [1.0, 2.0], "q": [1.0]}, None, "column 'q' has 1 values for 2 rows"),
        ({}, None, "no columns"),
        (None, None, "no output names"),
        (np.zeros(2), None, "declares no output names"),
        (np.zeros(3), "p", r"shape \(3,\) for 2 rows"),
        (np.zeros((2, 3)), ["p", "q"], r"must be \(2, 2\)"),
        ({"p": [1.0, 2.0]}, ["p", "q"], "'q'"),
        ({"p": [1.0, 2.0], "z": [1.0, 2.0]}, "p", "'z'"),
        ({"p": [1.0, float("nan")]}, {"p": "FP64"}, "must be finite"),
        ({"p": ["a", "b"]}, {"p": "FP64"}, "'p'"),
        ([{"p": 1.0}], "p", "1 rows for 2"),
        ({"p": [object(), object()]}, None, "'p'"),
        ({3: [1.0, 2.0]}, None, "not named by text"),
    ],
)
def test_invalid_output_is_named(output: object, outputs: Any, message: str) -> None:
    """Whatever a model gives that it must not is INVALID_OUTPUT, naming the column and both numbers."""
    with testing.Postbox(lambda _: output, outputs=outputs) as box, pytest.raises(InvalidOutputError, match=message):
        box.score({"x": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("output", "outputs", "expected"),
    [
        (np.array([1.0, 2.0]), "p", {"p": [1.0, 2.0]}),
        (np.array([[1.0], [2.0]]), "p", {"p": [1.0, 2.0]}),
        (np.array([[1.0, 3.0], [2.0, 4.0]]), ["p", "q"], {"p": [1.0, 2.0], "q": [3.0, 4.0]}),
        (np.array([[1.0, 3.0], [2.0, 4.0]]), "p", {"p": [[1.0, 3.0], [2.0, 4.0]]}),
        ([1.0, 2.0], "p", {"p": [1.0, 2.0]}),
        ({"p": [1, 2]}, {"p": "FP64"}, {"p": [1.0, 2.0]}),
        ({"p": ["a", None]}, "p", {"p": ["a", None]}),
        ([{"p": 1.0, "q": "a"}, {"p": 2.0, "q": "b"}], None, {"p": [1.0, 2.0], "q": ["a", "b"]}),
    ],
)
def test_any_table_is_an_output(output: object, outputs: Any, expected: dict[str, Any]) -> None:
    """Arrays with declared names, mappings and lists of dicts all become columns."""
    with testing.Postbox(lambda _: output, outputs=outputs) as box:
        assert box.score({"x": [1.0, 2.0]}).to_dict() == expected


def test_frames_and_data_frames_are_outputs() -> None:
    """A DataFrame and an Arrow table are taken as they are."""
    pd = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    for output in (pd.DataFrame({"p": [1.0, 2.0]}), pa.table({"p": [1.0, 2.0]})):
        with testing.Postbox(lambda _, output=output: output) as box:
            assert box.score({"x": [1.0, 2.0]}).to_dict() == {"p": [1.0, 2.0]}


def test_declared_inputs_are_selected_and_checked() -> None:
    """Other columns are left out, the order is the declared one, a missing column is named."""

    @model(inputs={"b": "FP64", "a": "INT64"}, outputs={"n": "STRING"})
    def names(table: dict[str, Any]) -> dict[str, Any]:
        return {"n": [",".join(table)] * len(table["a"])}

    with testing.Postbox(names) as box:
        assert box.score({"a": [1], "c": [1], "b": [1.0]})["n"][0] == "b,a"
        with pytest.raises(RendezvousError, match="'a'") as caught:
            box.score({"b": [1.0]})
    assert caught.value.code == ErrorCode.SIGNATURE_MISMATCH


def test_sys_exit_in_a_model_does_not_end_the_process() -> None:
    """A model that calls sys.exit fails on that request only."""

    def leave(table: dict[str, Any]) -> None:
        raise SystemExit(3)

    with testing.Postbox(leave) as box, pytest.raises(ModelFailedError, match="SystemExit: 3"):
        box.score({"x": [1.0]})
