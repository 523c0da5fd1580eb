"""`rendezvous compare` where truths come in several forms: as labels, as numbers, of requests and of single rows."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rendezvous_router.archive.store import ArchiveStore, Batch
from rendezvous_router.compare import CompareError, Comparison, Question, compare
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot
from rendezvous_sdk.archive.reader import open_archive
from rendezvous_sdk.archive.schema import SignatureColumn, schema_of

from tests.support.archives import GENERATION, START_US

REQUESTS = 60
OUTPUTS = (SignatureColumn("risk", "FP64"), SignatureColumn("label", "STRING"))
LABELS = ("good", "bad", "odd")


def label_of(request: int) -> str:
    """What is true of a request, and what model `right` says."""
    return LABELS[request % 3]


def _score(request: int, model: str, label: str) -> dict[str, Any]:
    return {
        "request_id": f"r{request}",
        "row": 0,
        "model": model,
        "version": "1",
        "origin": "live",
        "stored_at": START_US + request,
        "after_us": 1000,
        "parcel_sequence": request + 1,
        "score_sequence": 2 * request + (model == "right") + 1,
        "risk": 0.9 if label == "bad" else 0.2,
        "label": label,
    }


def asked(root: Path, outcomes: list[dict[str, Any]], *, wrong: str | None = None, **question: Any) -> Comparison:
    """Compares model `right`, which is always right, with `wrong`, which always says one thing, or one for each."""
    scores = [
        _score(request, model, label_of(request) if model == "right" else wrong or f"no {request}")
        for request in range(REQUESTS)
        for model in ("wrong", "right")
    ]
    truths = [
        {"feedback_id": f"f{number}", "kind": "truth", "observed_at": START_US, "stored_at": START_US}
        | {"stream_sequence": number, "batch_index": 0}
        | each
        for number, each in enumerate(outcomes, 1)
    ]
    for source, kind, columns, rows in ((SCORES, "scores", OUTPUTS, scores), (DURABLE, "feedback", (), truths)):
        if rows:
            table = pa.Table.from_pylist(rows, schema=schema_of(kind, columns))
            batch = Batch(
                generation=GENERATION,
                first=1,
                last=len(rows),
                last_stored_unix_us=START_US,
                messages=len(rows),
                tables=[(kind, table)],
            )
            with ArchiveStore(ArchiveRoot.parse(root), "default", "credit", source) as store:
                store.write_batch(batch)
    with open_archive(root) as archive:
        return compare(archive, Question(first="right", second="wrong", **question))


def label(request: int, **more: Any) -> dict[str, Any]:
    """A truth as a label."""
    return {"request_id": f"r{request}", "text": label_of(request), "output": "label"} | more


def number(request: int, value: float | None = None, **more: Any) -> dict[str, Any]:
    """A truth as a number: 1 for `bad`."""
    told = float(label_of(request) == "bad") if value is None else value
    return {"request_id": f"r{request}", "number": told, "output": "risk"} | more


FORMS: dict[str, list[dict[str, Any]]] = {
    "labels": [label(each) for each in range(REQUESTS)],
    "half of them numbers": [(label if each % 2 else number)(each) for each in range(REQUESTS)],
    "one label": [label(0), *(number(each) for each in range(1, REQUESTS))],
    "a number for each row beside the label": [
        told for each in range(REQUESTS) for told in (label(each), number(each, row=0))
    ],
    "a number for each request beside its rows' labels": [
        told for each in range(REQUESTS) for told in (label(each, row=0), number(each))
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_is_always_right_is_right_in_every_form(tmp_path: Path, form: str) -> None:
    """Among labels 1 means the positive one and 0 any other; a number about a row does not hide a request's label."""
    found = asked(tmp_path, FORMS[form], wrong="odd")
    told = {each.key: each for each in found.differences}
    assert found.truth.positive == "bad"
    assert found.truth.rows == told["accuracy"].requests == REQUESTS
    assert told["accuracy"].first == 1.0
    # Said to be `odd`, a row that is known to be no `bad` one is not shown wrong.
    unknown = sum(each % 3 == 0 and "0.0" in str(FORMS[form][each].get("number")) for each in range(REQUESTS))
    if form in ("half of them numbers", "one label"):
        assert told["accuracy"].second == pytest.approx((REQUESTS / 3 + unknown) / REQUESTS)
    assert told["brier"].first == pytest.approx((0.1**2 + 2 * 0.2**2) / 3)
    assert not any("left out" in note for note in found.truth.notes)


def test_truths_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    """A number that is neither 0 nor 1 is no label, and a label no number: what there is more of counts."""
    few = [*(label(each) for each in range(40)), *(number(each, 0.7) for each in range(40, 45))]
    found = asked(tmp_path / "few", few)
    assert (found.truth.task, found.truth.rows) == ("classes", 40)
    assert next(each.first for each in found.differences if each.key == "accuracy") == 1.0
    assert any(note.startswith("5 truths cannot be read") for note in found.truth.notes)
    many = [*(label(each) for each in range(5)), *(number(each, 0.7) for each in range(5, 45))]
    found = asked(tmp_path / "many", many)
    assert (found.truth.task, found.truth.rows) == ("numbers", 40)
    assert any(note.startswith("5 truths cannot be read") for note in found.truth.notes)


def test_a_label_that_nobody_says_is_no_positive_one(tmp_path: Path) -> None:
    """The message tells which labels there are; one that only truths have will do."""
    outcomes = [*(label(each) for each in range(REQUESTS - 1)), label(REQUESTS - 1, text="worst")]
    with pytest.raises(CompareError, match="no label 'zzz' for --positive; there are good, bad, odd, worst"):
        asked(tmp_path / "a", outcomes, wrong="good", positive="zzz")
    assert asked(tmp_path / "b", outcomes, wrong="good", positive="worst").truth.positive == "worst"


@pytest.mark.parametrize("name", ["threshold", "tolerance", "alpha"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(name: str, value: float) -> None:
    """Neither NaN nor infinity is a threshold, a tolerance or an alpha; the message says what was given."""
    with pytest.raises(CompareError, match=f"{name} .*not {value}"):
        Question(first="a", second="b", **{name: value})  # type: ignore[arg-type] # by name


def test_equal_differences_tell_no_interval(tmp_path: Path) -> None:
    """Latencies that never differed say nothing of those to come, and sixty are too few besides."""
    found = asked(tmp_path, [], wrong="good")
    latency = next(each for each in found.differences if each.key == "latency_ms")
    assert (latency.low, latency.high) == (None, None)
