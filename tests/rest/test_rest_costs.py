"""What small bodies may cost: never more than their size and the signature allow."""

import gzip
import time
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, InvalidRequestError, SignatureMismatchError, TooLargeError
from rendezvous_router.rest.bodies import MEMBERS, read_body
from rendezvous_router.rest.csv_body import read_csv
from rendezvous_router.rest.json_body import SPARSE_CELLS, read_json

INPUTS = [v1.ColumnSpec(name=name, type=v1.DataType.DATA_TYPE_FP64) for name in ("x", "y")]
COUNT = 50_000
SPARSE = ("[" + ",".join(f'{{"{number:x}":1}}' for number in range(COUNT)) + "]").encode()
WIDE = (",".join(f"c{number:x}" for number in range(COUNT)) + "\n" + ",".join(["1"] * COUNT) + "\n").encode()


def _table(body: bytes, *declared: str, max_rows: int = 10 * COUNT) -> tuple[dict[str, list[Any]], int]:
    return read_json(body).table(max_rows, declared)


def test_rows_with_a_name_each_make_no_columns_of_their_own() -> None:
    """However many undeclared names rows have: the first found is a column, for the router to refuse; quickly."""
    started = time.monotonic()
    columns, rows = _table(SPARSE, "x", "y")
    assert (list(columns), rows) == (["0"], COUNT)
    assert time.monotonic() - started < 1
    columns, _ = _table(b'[{"x": 1}, {"y": 2}, {"z": 3}, {"u": 4}]', "x", "y")
    assert columns == {"x": [1, None, None, None], "y": [None, 2, None, None], "z": [None, None, 3, None]}


def test_rows_of_an_endpoint_that_declares_nothing_may_differ_a_little() -> None:
    """A few missing names are filled up; where nearly everything would be missing the rows are refused."""
    assert _table(b'[{"x": 1}, {"y": 2}]') == ({"x": [1, None], "y": [None, 2]}, 2)
    started = time.monotonic()
    with pytest.raises(InvalidFrameError, match=f"more than {SPARSE_CELLS} values"):
        _table(SPARSE)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "read",
    [
        lambda: _table(b'[{"x": 1}, {"y": 1}, {"x": 1}]', "x", "y", max_rows=2),
        lambda: _table(b'{"columns": {"x": [1, 2, 3]}}', "x", "y", max_rows=2),
        lambda: read_csv(b"x,y\n1,2\n1,2\nno number,2\n", INPUTS, 2),
    ],
)
def test_too_many_rows_are_refused_before_they_are_columns(read: Callable[[], object]) -> None:
    """The limit comes before any value is looked at."""
    with pytest.raises(TooLargeError, match="request of 3 rows: the limit is 2 rows"):
        read()


def test_a_header_line_wider_than_the_signature_is_refused_by_itself() -> None:
    """CSV's names are compared with the signature before columns are made; one unknown is left for the router."""
    started = time.monotonic()
    with pytest.raises(SignatureMismatchError, match="column 2 of the header line, 'c1', is unknown"):
        read_csv(WIDE, INPUTS, 10)
    with pytest.raises(InvalidRequestError, match=f"column {COUNT + 1} of the header line, 'c0', is there twice"):
        read_csv(WIDE.replace(b"\n", b",c0\n", 1), [v1.ColumnSpec(name=f"c{n:x}") for n in range(COUNT)], 10)
    assert time.monotonic() - started < 3
    assert read_csv(b'\xef\xbb\xbf"x",z\r\n1,2\r\n', INPUTS, 10) == ({"x": [1.0], "z": ["2"]}, 1)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
async def test_a_compressed_body_has_few_members(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """Members may follow each other, up to the limit, in one piece or in many; behind it the body is refused."""
    headers = [(b"content-encoding", encoding.encode())]

    async def inflated(members: int, step: int) -> bytes:
        body = compress(b"x") * members
        pieces = iter(range(0, len(body), step))

        async def receive() -> dict[str, Any]:
            start = next(pieces)
            return {"type": "http.request", "body": body[start : start + step], "more_body": start + step < len(body)}

        return await read_body(receive, headers, 1 << 20)

    for step in (7, 1 << 20):
        assert await inflated(MEMBERS, step) == b"x" * MEMBERS
        with pytest.raises(InvalidRequestError, match=f"more than {MEMBERS} compressed members"):
            await inflated(MEMBERS + 1, step)
