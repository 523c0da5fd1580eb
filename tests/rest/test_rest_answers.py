"""The same rows over gRPC and over every kind of REST body: the same answer, bit by bit."""

import base64
import io
import json
import math
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import requests
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.v1 import Frame
from rendezvous_sdk import Client

from tests.rest.conftest import TYPES
from tests.support.stack import Stack

JSON, CSV = "application/json", "text/csv"
STREAM, FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"

TABLE: dict[str, list[Any]] = {
    "flag": [True, False, None, True],
    "u8": [0, 255, None, 7],
    "u16": [0, 65535, None, 7],
    "u32": [0, 2**32 - 1, None, 7],
    "u64": [0, 2**64 - 1, None, 2**53 + 1],
    "i8": [-128, 127, None, 7],
    "i16": [-32768, 32767, None, 7],
    "i32": [-(2**31), 2**31 - 1, None, 7],
    "i64": [-(2**63), 2**63 - 1, None, 2**53 + 1],
    "f16": [0.1, math.inf, None, math.nan],
    "f32": [0.1, -math.inf, None, 3.4e38],
    "f64": [5e-324, 1.7976931348623157e308, None, -0.0],
    "text": ["", 'Zoë, "quoted"\r\nline: two', None, "NaN"],
    "blob": [b"", b"\x00\xff:", None, b"x"],
    "matrix": [[[1.0, 2.0, 3.5], [4.0, 5.0, 6.0]], [[0.1, 0.2, 0.3], [0.0, 0.0, 0.0]], None, [[1.0] * 3] * 2],
    "words": [["a", ""], ["b", "ü"], None, ["c", "d"]],
}


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _json_rows(table: dict[str, list[Any]]) -> bytes:
    names = list(table)
    return json.dumps(
        {"rows": [dict(zip(names, map(_plain, row), strict=True)) for row in zip(*table.values(), strict=True)]}
    ).encode()


def _json_columns(table: dict[str, list[Any]]) -> bytes:
    return json.dumps({"columns": {name: _plain(values) for name, values in table.items()}}).encode()


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    value = _plain(value)
    if isinstance(value, str | list):
        text = value if isinstance(value, str) else json.dumps(value)
        return text if text in ("NaN", "Infinity", "-Infinity") and not isinstance(value, list) else _quoted(text)
    return json.dumps(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _csv(table: dict[str, list[Any]]) -> bytes:
    lines = [",".join(table), *(",".join(map(_csv_cell, row)) for row in zip(*table.values(), strict=True))]
    return "\r\n".join([*lines, ""]).encode()


def _arrow(table: dict[str, list[Any]], new: Any) -> bytes:
    arrow = {
        "BOOL": pa.bool_(),
        "STRING": pa.string(),
        "BYTES": pa.binary(),
        "FP16": pa.float64(),
        "FP32": pa.float32(),
        "FP64": pa.float64(),
    } | {
        f"{sign}INT{bits}": getattr(pa, f"{sign.lower()}int{bits}")() for sign in ("", "U") for bits in (8, 16, 32, 64)
    }
    columns = {}
    for name, values in table.items():
        kind = arrow[TYPES[name]["type"]]
        for _ in TYPES[name].get("shape", ()):
            kind = pa.list_(kind)
        columns[name] = pa.array(values, type=kind)
    built = pa.table(columns)
    sink = io.BytesIO()
    with new(sink, built.schema) as writer:
        writer.write_table(built)
    return sink.getvalue()


BODIES = {
    "rows": (JSON, _json_rows),
    "columns": (JSON, _json_columns),
    "csv": (CSV, _csv),
    "arrow stream": (STREAM, lambda table: _arrow(table, pa.ipc.new_stream)),
    "arrow file": (FILE, lambda table: _arrow(table, pa.ipc.new_file)),
}


def _grpc(site: Stack, table: dict[str, list[Any]]) -> Frame:
    with Client(site.address, "echo") as client:
        return client.score(table).reply.outputs


def _of_json(body: bytes) -> dict[str, list[Any]]:
    answer = json.loads(body)
    if "columns" in answer:
        return dict(answer["columns"])
    return {name: [row[name] for row in answer["rows"]] for name in TYPES}


def _frame_of_json(columns: dict[str, list[Any]]) -> Frame:
    """Reads a JSON answer back, without any of the code under test."""

    def back(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [back(name, each) for each in value]
        if value is None or TYPES[name]["type"] in ("STRING", "BOOL") or "INT" in TYPES[name]["type"]:
            return value
        return base64.b64decode(value) if TYPES[name]["type"] == "BYTES" else float(str(value))

    values = {name: [back(name, value) for value in column] for name, column in columns.items()}
    return encode_frame(values, types={name: facts["type"] for name, facts in TYPES.items()})


def _bits(frame: Frame) -> dict[str, Any]:
    """Returns what a frame holds, bit by bit; NaN is NaN whatever its payload."""
    columns = {}
    for column in frame.columns:
        values: Any = column.values
        if column.type in (10, 11, 12):
            floats = np.frombuffer(values, {10: "<f2", 11: "<f4", 12: "<f8"}[column.type]).copy()
            floats[np.isnan(floats)] = np.nan
            values = floats.tobytes()
        columns[column.name] = (
            column.type,
            list(column.shape),
            values,
            list(column.strings),
            list(column.blobs),
            column.missing,
        )
    return columns


@pytest.mark.parametrize("kind", BODIES)
def test_every_body_means_the_same_as_grpc(site: Stack, http: requests.Session, kind: str) -> None:
    """Every type, extremes and missing values included, comes back from REST with the bits that gRPC gives."""
    media, write = BODIES[kind]
    expected = _bits(_grpc(site, TABLE))
    answer = http.post(
        f"{site.rest}/v1/endpoints/echo/score", data=write(TABLE), headers={"content-type": media, "accept": JSON}
    )
    assert answer.status_code == 200, answer.text
    assert _bits(_frame_of_json(_of_json(answer.content))) == expected
    assert expected["f64"][2] == struct.pack("<4d", 5e-324, 1.7976931348623157e308, 0.0, -0.0)


@pytest.mark.parametrize("kind", BODIES)
def test_one_row_means_the_same_as_grpc(site: Stack, http: requests.Session, kind: str) -> None:
    """A lone row, which takes the short path, does too; with all of it missing as well."""
    media, write = BODIES[kind]
    for row in range(4):
        table = {name: values[row : row + 1] for name, values in TABLE.items()}
        if table["matrix"] == [None]:
            continue  # a gRPC client cannot say which shape a column has that is missing in every row
        answer = http.post(
            f"{site.rest}/v1/endpoints/echo/score", data=write(table), headers={"content-type": media, "accept": JSON}
        )
        assert answer.status_code == 200, answer.text
        assert _bits(_frame_of_json(_of_json(answer.content))) == _bits(_grpc(site, table))


def test_a_row_of_nothing_but_missing_values(site: Stack, http: requests.Session) -> None:
    """JSON null in every column, tensors included, is taken and given back."""
    answer = http.post(f"{site.rest}/v1/endpoints/echo/score", json={"rows": [dict.fromkeys(TYPES)]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows"] == [dict.fromkeys(TYPES)]
    absent = http.post(f"{site.rest}/v1/endpoints/echo/score", json=[{"text": "x"}, {**dict.fromkeys(TYPES), "u8": 1}])
    assert absent.status_code == 200, absent.text
    assert [row["u8"] for row in absent.json()["rows"]] == [None, 1]


@pytest.mark.parametrize("media", [CSV, STREAM, FILE])
def test_answers_in_other_forms(site: Stack, http: requests.Session, media: str) -> None:
    """What was answered as CSV or Arrow is sent again as it came, and is answered as before."""
    url = f"{site.rest}/v1/endpoints/echo/score"
    first = http.post(url, data=_json_rows(TABLE), headers={"content-type": JSON, "accept": media})
    assert first.status_code == 200, first.text
    assert first.headers["content-type"].split(";")[0] == media
    assert first.headers["rendezvous-model"] == "echo"
    assert first.headers["rendezvous-rule"] == "steps[0].first"
    again = http.post(url, data=first.content, headers={"content-type": media})
    assert again.status_code == 200, again.text
    assert again.content == first.content
    as_json = http.post(url, data=first.content, headers={"content-type": media, "accept": JSON})
    assert _bits(_frame_of_json(_of_json(as_json.content))) == _bits(_grpc(site, TABLE))


def test_dictionaries_and_views_are_taken(site: Stack, http: requests.Session) -> None:
    """Arrow's categories and string views, as pandas, R and Polars write them, mean their values."""
    table = {name: values for name, values in TABLE.items() if name != "text"}
    plain = pa.ipc.open_stream(_arrow(TABLE, pa.ipc.new_stream)).read_all()
    for column in (plain["text"].dictionary_encode(), plain["text"].cast(pa.string_view())):
        changed = plain.set_column(plain.column_names.index("text"), "text", column)
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, changed.schema) as writer:
            writer.write_table(changed)
        answer = http.post(
            f"{site.rest}/v1/endpoints/echo/score",
            data=sink.getvalue(),
            headers={"content-type": STREAM, "accept": JSON},
        )
        assert answer.status_code == 200, answer.text
        assert [row["text"] for row in answer.json()["rows"]] == TABLE["text"]
    assert table


def test_the_answer_tells_who_and_why(site: Stack, http: requests.Session) -> None:
    """JSON carries model, version, decision and timing; explain every model's score; ids and traces go through."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = http.post(
        f"{site.rest}/v1/endpoints/sum/score?explain=true&context.customer=7",
        json={"rows": [{"a": 1.5, "b": 2, "tag": "x"}], "context": {"region": "eu"}},
        headers={"X-Request-Id": "rest-1", "traceparent": trace, "Rendezvous-Timeout-Ms": "4000"},
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["rows"] == [{"total": 3.5, "label": "high"}]
    assert (told["request_id"], answer.headers["x-request-id"]) == ("rest-1", "rest-1")
    assert told["model"] == answer.headers["rendezvous-model"] == "plus"
    assert told["decision"]["rule"] == "steps[0].first"
    assert [arrival["status"] for arrival in told["decision"]["arrivals"]] == ["scored"]
    assert told["scores"][0]["rows"] == told["rows"]
    assert answer.headers["traceparent"] == trace
    assert told["timing"]["finished_unix_us"] >= told["timing"]["received_unix_us"]


def test_a_retry_is_the_same_request_in_any_form(site: Stack, http: requests.Session) -> None:
    """The same id and rows share an answer, in another form and order, too; other rows are refused."""
    url = f"{site.rest}/v1/endpoints/sum/score"
    row = {"a": 1.5, "b": 2, "tag": "x"}
    first = http.post(url, json={"rows": [row]}, headers={"X-Request-Id": "rest-again"})
    same = http.post(
        url, data=b"tag,b,a\r\nx,2,1.5\r\n", headers={"X-Request-Id": "rest-again", "content-type": CSV, "accept": JSON}
    )
    assert same.json()["timing"] == first.json()["timing"]
    other = http.post(url, json={"rows": [{**row, "a": 2.5}]}, headers={"X-Request-Id": "rest-again"})
    assert (other.status_code, other.json()["code"]) == (409, "REQUEST_ID_CONFLICT")
