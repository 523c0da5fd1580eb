"""Frames against signatures."""

from typing import Any

import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import SignatureMismatchError
from rendezvous_proto.frames import encode_frame, type_number
from rendezvous_proto.signatures import check_signature, conform_frame

WHAT = "inputs of endpoint credit"


def spec(name: str, kind: str, **more: Any) -> v1.ColumnSpec:
    """Makes one column of a signature."""
    return v1.ColumnSpec(name=name, type=type_number(kind), **more)  # type: ignore[arg-type] # numbers


SPECS = [
    spec("amount", "FP64"),
    spec("purpose", "STRING"),
    spec("maybe", "FP32", allow_missing=True, allow_nan=True),
    spec("pair", "FP64", shape=[2]),
]
TABLE: dict[str, Any] = {"amount": [1.0, 2.0], "purpose": ["a", "b"], "maybe": [None, 1.0], "pair": [[1.0, 2.0]] * 2}
TYPES = {"maybe": "FP32"}


def test_columns_may_come_in_any_order() -> None:
    """A frame that fits passes in any order, and is put into the signature's."""
    frame = encode_frame(TABLE, types=TYPES)
    turned = encode_frame(dict(reversed(TABLE.items())), types=TYPES)
    for each in (frame, turned):
        check_signature(each, SPECS, what=WHAT)
        assert conform_frame(each, SPECS) == frame
    assert conform_frame(frame, SPECS) is frame
    assert conform_frame(turned, []) is turned
    check_signature(frame, [], what=WHAT)
    check_signature(encode_frame({"maybe": [float("nan")]}, types=TYPES), SPECS[2:3], what=WHAT)


@pytest.mark.parametrize(
    ("changed", "message", "attributes"),
    [
        ({"purpose": None}, "column 'purpose' (STRING[]) is absent", {"column": "purpose", "expected": "STRING[]"}),
        ({"purpos": ["a", "b"]}, "column 'purpos' is unknown, did you mean 'purpose'?", {"nearest": "purpose"}),
        ({"zzz": [1, 2]}, "column 'zzz' is unknown: expected are amount, purpose, maybe, pair", {"column": "zzz"}),
        (
            {"amount": [1, 2]},
            "column 'amount' has another type: expected FP64, got INT64",
            {"column": "amount", "expected": "FP64", "actual": "INT64"},
        ),
        ({"amount": [[1.0], [2.0]]}, "another shape: expected [], got [1]", {"column": "amount"}),
        ({"pair": [[1.0]] * 2}, "another shape: expected [2], got [1]", {"column": "pair"}),
        ({"purpose": ["a", None]}, "column 'purpose' is missing in row 1", {"column": "purpose", "row": "1"}),
        ({"amount": [1.0, float("nan")]}, "column 'amount' is nan in row 1", {"column": "amount", "row": "1"}),
        ({"amount": [float("-inf"), 1.0]}, "column 'amount' is -inf in row 0", {"column": "amount", "row": "0"}),
        ({"pair": [[1.0, 1.0], [1.0, float("inf")]]}, "column 'pair' is inf in row 1", {"row": "1"}),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, Any], message: str, attributes: dict[str, str]) -> None:
    """What does not fit is refused with the column, what was expected and what came."""
    table = {name: values for name, values in {**TABLE, **changed}.items() if values is not None}
    with pytest.raises(SignatureMismatchError) as caught:
        check_signature(encode_frame(table, types=TYPES), SPECS, what=WHAT)
    assert str(caught.value).startswith(WHAT)
    assert message in str(caught.value)
    assert attributes.items() <= caught.value.attributes.items()


def test_what_a_missing_row_holds_does_not_count() -> None:
    """NaN in a row that is missing is not NaN, whatever its sender left there."""
    frame = encode_frame({"x": [float("nan"), 1.0]})
    frame.columns[0].missing = b"\x01"
    check_signature(frame, [spec("x", "FP64", allow_missing=True)], what=WHAT)


def test_frame_without_columns_is_refused() -> None:
    """A frame without columns says which is absent."""
    with pytest.raises(SignatureMismatchError, match="there are no columns"):
        check_signature(v1.Frame(rows=1), SPECS, what=WHAT)
