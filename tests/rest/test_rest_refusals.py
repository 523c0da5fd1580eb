"""What REST refuses: each mistake by its status, its code and words that say what to do. Never a 500 for bad input."""

import contextlib
import gzip
import json
from typing import Any

import pyarrow as pa
import pytest
import requests
import zstandard

from tests.support.stack import Stack

JSON, CSV = "application/json", "text/csv"
STREAM = "application/vnd.apache.arrow.stream"
ROW = {"a": 1.5, "b": 2, "tag": "x"}
ECHO, SUM = "/v1/endpoints/echo/score", "/v1/endpoints/sum/score"
LIMIT = 4 << 20


def _row(**changes: Any) -> bytes:
    return json.dumps({"rows": [{**ROW, **changes}]}).encode()


def _ipc(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _wide_dictionary() -> bytes:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 900, pa.int8()), pa.array(["x" * 100_000]))
    return _ipc(pa.table({"text": text}))


SHORT = _ipc(pa.table({"a": [1.0] * 50}))

BODIES: list[tuple[str, str, str, bytes, int, str, str]] = [
    ("no JSON", SUM, JSON, b"{", 400, "INVALID_REQUEST", "is not JSON"),
    ("empty", SUM, JSON, b"", 400, "INVALID_REQUEST", "is not JSON"),
    ("not an object", SUM, JSON, b"7", 400, "INVALID_REQUEST", "Expected `object`"),
    ("not UTF-8", SUM, JSON, b'{"rows": [{"tag": "\xff"}]}', 400, "INVALID_REQUEST", "not UTF-8"),
    ("lone surrogate", SUM, JSON, b'{"rows": [{"tag": "\\ud800"}]}', 400, "INVALID_REQUEST", "is not JSON"),
    ("unknown key", SUM, JSON, b'{"row": []}', 400, "INVALID_REQUEST", "unknown field `row`"),
    ("neither", SUM, JSON, b"{}", 400, "INVALID_REQUEST", '"rows"'),
    ("both", SUM, JSON, b'{"rows": [], "columns": {}}', 400, "INVALID_REQUEST", '"columns"'),
    ("no rows", SUM, JSON, b'{"rows": []}', 400, "INVALID_FRAME", "at least 1 row"),
    ("an empty row", SUM, JSON, b'{"rows": [{}]}', 400, "SIGNATURE_MISMATCH", "absent"),
    ("a row that is none", SUM, JSON, b'{"rows": [7]}', 400, "INVALID_REQUEST", "$.rows[0]"),
    ("NaN", SUM, JSON, b'{"rows": [{"a": NaN}]}', 400, "INVALID_REQUEST", "as text"),
    ("Infinity", SUM, JSON, b'{"rows": [{"a": -Infinity}]}', 400, "INVALID_REQUEST", "as text"),
    ("NaN as text where none may be", SUM, JSON, _row(a="NaN"), 400, "SIGNATURE_MISMATCH", "finite"),
    ("text for a number", SUM, JSON, _row(a="1.5"), 400, "INVALID_FRAME", "'a'"),
    ("number out of all range", SUM, JSON, b'{"rows": [{"a": 1e999}]}', 400, "INVALID_REQUEST", "out of range"),
    ("digits without end", SUM, JSON, b'[{"a": 1, "b": %s}]' % (b"9" * 5000), 400, "INVALID_REQUEST", "out of range"),
    ("too large for INT64", SUM, JSON, _row(b=2**63), 400, "INVALID_FRAME", "'b'"),
    ("far too large for INT64", SUM, JSON, _row(b=10**30), 400, "INVALID_FRAME", "'b'"),
    ("not whole", SUM, JSON, _row(b=1.5), 400, "INVALID_FRAME", "'b'"),
    ("too large for INT8", ECHO, JSON, b'[{"i8": 128}]', 400, "INVALID_FRAME", "'i8'"),
    ("too large for FP32", ECHO, JSON, b'[{"f32": 1e39}]', 400, "INVALID_FRAME", "'f32'"),
    ("too large for FP16", ECHO, JSON, b'[{"f16": 1e6}]', 400, "INVALID_FRAME", "'f16'"),
    ("no base64", ECHO, JSON, b'[{"blob": "*"}]', 400, "INVALID_FRAME", "base64"),
    ("object as a value", SUM, JSON, _row(tag={"a": 1}), 400, "INVALID_FRAME", "'tag'"),
    ("list for a scalar", SUM, JSON, _row(a=[1.5]), 400, "SIGNATURE_MISMATCH", "shape"),
    ("null within a tensor", ECHO, JSON, b'[{"words": ["a", null]}]', 400, "INVALID_FRAME", "'words'"),
    ("ragged tensor", ECHO, JSON, b'[{"matrix": [[1, 2, 3], [4]]}]', 400, "INVALID_FRAME", "'matrix'"),
    ("missing", SUM, JSON, _row(a=None), 400, "SIGNATURE_MISMATCH", "missing"),
    ("unknown column", SUM, JSON, _row(tga="x"), 400, "SIGNATURE_MISMATCH", "did you mean 'tag'?"),
    ("columns of two lengths", SUM, JSON, b'{"columns": {"a": [1.5, 2], "b": [1]}}', 400, "INVALID_FRAME", "1 rows"),
    ("key twice", SUM, JSON, b'{"rows": [{"a": 1.5, "b": 2, "a": 2.5, "tag": "x"}]}', 400, "INVALID_REQUEST", "twice"),
    ("key twice, escaped", SUM, JSON, b'[{"a": 1, "b": 2, "\\u0061": 2, "tag": ":"}]', 400, "INVALID_REQUEST", "'a'"),
    ("column twice", SUM, JSON, b'{"columns": {"a": [1], "a": [2]}}', 400, "INVALID_REQUEST", "twice"),
    ("too deep", SUM, JSON, _row(a=json.loads("[" * 33 + "]" * 33)), 400, "INVALID_REQUEST", "32 levels"),
    ("far too deep", SUM, JSON, b"[" * 100_000 + b"]" * 100_000, 400, "INVALID_REQUEST", "body"),
    ("lists without end", SUM, JSON, b'{"rows": [' + b"[]," * 900_000 + b"[]]}", 400, "INVALID_REQUEST", "$.rows[0]"),
    ("bad id", SUM, JSON, b'{"rows": [{}], "request_id": "a b"}', 400, "INVALID_REQUEST", "give it once"),
    ("too many rows", SUM, CSV, b"a,b,tag\n" + b"1,2,x\n" * 20_000, 413, "TOO_LARGE", "rows"),
    ("too many bytes", SUM, JSON, b" " * (LIMIT + 1), 413, "TOO_LARGE", str(LIMIT)),
    ("CSV: bad number", SUM, CSV, b"a,b,tag\n1,2,x\nz,2,x\n", 400, "INVALID_FRAME", "row 1: 'z'"),
    ("CSV: out of range", SUM, CSV, b"a,b,tag\n1e999,2,x\n", 400, "INVALID_FRAME", "1e999"),
    ("CSV: too large for INT64", SUM, CSV, b"a,b,tag\n1,9223372036854775808,x\n", 400, "INVALID_FRAME", "'b'"),
    ("CSV: too few values", SUM, CSV, b"a,b,tag\n1,2\n", 400, "INVALID_REQUEST", "2 values"),
    ("CSV: column twice", SUM, CSV, b"a,b,a\n1,2,3\n", 400, "INVALID_REQUEST", "twice"),
    ("CSV: no name", SUM, CSV, b"a,,tag\n1,2,3\n", 400, "INVALID_REQUEST", "no name"),
    ("CSV: not UTF-8", SUM, CSV, b"a,b,tag\n1,2,\xff\n", 400, "INVALID_REQUEST", "UTF-8"),
    ("CSV: empty", SUM, CSV, b"", 400, "INVALID_REQUEST", "CSV"),
    ("CSV: header only", SUM, CSV, b"a,b,tag\n", 400, "INVALID_FRAME", "at least 1 row"),
    ("CSV: broken quotes", SUM, CSV, b'a,b,tag\n1,2,"x\n', 400, "INVALID_REQUEST", "CSV"),
    ("Arrow: none", SUM, STREAM, b"nonsense, nothing but", 400, "INVALID_REQUEST", "Arrow"),
    ("Arrow: empty", SUM, STREAM, b"", 400, "INVALID_REQUEST", "Arrow"),
    ("Arrow: cut", SUM, STREAM, SHORT[: len(SHORT) // 2], 400, "INVALID_REQUEST", "Arrow"),
    (
        "Arrow: compressed",
        SUM,
        STREAM,
        _ipc(pa.table({"a": [1.0] * 9}), compression="zstd"),
        400,
        "INVALID_REQUEST",
        "compressed",
    ),
    ("Arrow: a type without place", SUM, STREAM, _ipc(pa.table({"a": [{"x": 1}]})), 400, "INVALID_FRAME", "struct"),
    ("Arrow: a dictionary that grows", ECHO, STREAM, _wide_dictionary(), 413, "TOO_LARGE", "90000000"),
    (
        "Arrow: lists of nothing",
        ECHO,
        STREAM,
        _ipc(pa.table({"words": pa.array([[None] * 9], pa.list_(pa.null()))})),
        400,
        "INVALID_FRAME",
        "null",
    ),
]


@pytest.mark.parametrize(
    ("path", "media", "body", "status", "code", "words"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_bodies(
    site: Stack, http: requests.Session, path: str, media: str, body: bytes, status: int, code: str, words: str
) -> None:
    """Each bad body is refused by a problem with the table's status, its code and words that help."""
    answer = http.post(site.rest + path, data=body, headers={"content-type": media, "X-Request-Id": "bad-1"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert words in problem["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "urn:rendezvous:error:" + code.lower().replace("_", "-")
    assert problem["status"] == status
    assert not problem["retryable"]
    assert problem["request_id"] == answer.headers["x-request-id"] == "bad-1"
    assert problem["title"]


REQUESTS: list[tuple[str, str, str, dict[str, str], int, str, str]] = [
    ("nowhere", "GET", "/nix", {}, 404, "INVALID_REQUEST", "/openapi.json"),
    ("unknown endpoint", "POST", "/v1/endpoints/sun/score", {}, 404, "UNKNOWN_ENDPOINT", "did you mean 'sum'?"),
    ("unknown endpoint described", "GET", "/v1/endpoints/sun", {}, 404, "UNKNOWN_ENDPOINT", "'sum'"),
    ("other method", "GET", SUM, {}, 405, "INVALID_REQUEST", "POST"),
    ("other method at a list", "DELETE", "/v1/endpoints", {}, 405, "INVALID_REQUEST", "GET"),
    ("unknown model", "POST", SUM + "?model=pluss", {}, 404, "UNKNOWN_MODEL", "'plus'"),
    ("unknown parameter", "POST", SUM + "?expain=true", {}, 400, "INVALID_REQUEST", "did you mean 'explain'?"),
    ("parameter twice", "POST", SUM + "?model=plus&model=plus", {}, 400, "INVALID_REQUEST", "twice"),
    ("no flag", "POST", SUM + "?explain=perhaps", {}, 400, "INVALID_REQUEST", "true or false"),
    ("query that is no UTF-8", "POST", SUM + "?model=%ff", {}, 400, "INVALID_REQUEST", "UTF-8"),
    (
        "too much context",
        "POST",
        SUM + "?" + "&".join(f"context.k{i}=v" for i in range(65)),
        {},
        400,
        "INVALID_REQUEST",
        "context",
    ),
    ("form", "POST", SUM, {"content-type": "application/x-www-form-urlencoded"}, 415, "INVALID_REQUEST", JSON),
    ("other charset", "POST", SUM, {"content-type": "application/json; charset=utf-16"}, 415, "INVALID_REQUEST", JSON),
    ("other encoding", "POST", SUM, {"content-encoding": "br"}, 415, "INVALID_REQUEST", "gzip"),
    ("nothing to be had", "POST", SUM, {"accept": "image/png"}, 406, "INVALID_REQUEST", JSON),
    ("explained as CSV", "POST", SUM + "?explain=true", {"accept": CSV}, 406, "INVALID_REQUEST", JSON),
    ("no number", "POST", SUM, {"Rendezvous-Timeout-Ms": "soon"}, 400, "INVALID_REQUEST", "milliseconds"),
    ("no time", "POST", SUM, {"Rendezvous-Timeout-Ms": "0"}, 504, "EXPIRED", "deadline"),
    ("bad id", "POST", SUM, {"X-Request-Id": "a b"}, 400, "INVALID_REQUEST", "request id"),
    ("inference", "GET", "/v2/nix", {}, 404, "", "/v2/nix"),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code", "words"),
    [row[1:] for row in REQUESTS],
    ids=[row[0] for row in REQUESTS],
)
def test_requests(
    site: Stack,
    http: requests.Session,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str,
    words: str,
) -> None:
    """Each mistake beside the body is a problem, too; below /v2 it is an error as that protocol has them."""
    sent = {"content-type": JSON, **headers}
    answer = http.request(method, site.rest + path, data=_row() if method == "POST" else None, headers=sent)
    assert answer.status_code == status, answer.text
    if not code:
        assert words in answer.json()["error"]
        return
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert words in answer.json()["detail"]
    if status == 405:
        assert words in answer.headers["allow"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_bodies(site: Stack, http: requests.Session, encoding: str) -> None:
    """Gzip and zstd are taken, one member after the other, too; bombs, lies and cut bodies are refused."""
    press = gzip.compress if encoding == "gzip" else zstandard.ZstdCompressor().compress
    url, headers = site.rest + SUM, {"content-type": JSON, "content-encoding": encoding}
    whole = _row()
    for body in (press(whole), press(whole[:9]) + press(whole[9:])):
        answer = http.post(url, data=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["rows"] == [{"total": 3.5, "label": "high"}]
    for body, status in (
        (press(b" " * (200 << 20)), 413),
        (press(b" " * (LIMIT + 1)), 413),
        (whole, 400),
        (press(whole)[:-3], 400),
        (press(whole) + b"more", 400),
    ):
        answer = http.post(url, data=body, headers=headers)
        assert answer.status_code == status, answer.text


def test_a_body_in_chunks_is_limited_as_it_comes(site: Stack, http: requests.Session) -> None:
    """A chunked body, whose size nobody said, ends at the limit; below it, it is taken."""

    def chunks(count: int) -> Any:
        yield b" " * 1024
        for _ in range(count):
            yield b" " * 65_536
        yield _row()

    url, headers = site.rest + SUM, {"content-type": JSON}
    assert http.post(url, data=chunks(3), headers=headers).status_code == 200
    with contextlib.suppress(requests.ConnectionError):  # hung up on while it still sends, it may not read why
        assert http.post(url, data=chunks(200), headers=headers).status_code == 413
    assert http.post(url, data=_row(), headers=headers).status_code == 200
