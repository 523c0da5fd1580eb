"""Endpoints and seeds of the targets: the conformance vectors, and what a good client would send."""

import gzip
import json
import zlib
from functools import cache
from typing import Any

import pyarrow as pa
import zstandard
from rendezvous.spec import parse_spec
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView, encode_frame
from rendezvous_proto.inference import InferParameter, InferTensorContents, ModelInferRequest
from rendezvous_proto.vectors import load_vectors
from rendezvous_router.endpoint import Endpoint, compile_endpoint
from rendezvous_router.tenants.register import ROLES

from tests.rest.conftest import echo_spec, sum_spec

ROWS: dict[str, Any] = {
    "flag": [True, None],
    "u8": [7, 255],
    "i64": [-1, 2**63 - 1],
    "f16": [0.5, None],
    "f64": [1.5, float("nan")],
    "text": ["a", "ü\U0001f600"],
    "blob": [b"\0\xff", None],
    "matrix": [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[0.0] * 3] * 2],
    "words": [["a", "b"], ["", "c"]],
}
SUM: dict[str, Any] = {"a": [1.5, 2.5], "b": [2, -3], "tag": ["x", "y"]}
MOST_ROWS = 10_000
"""Most rows that are looked at: a frame of columns without elements may claim any number, and limits stand before."""
PARCEL = (("one", 1), ("two", 2), ("three", 1))
"""Requests of the parcel that lying models answer, and their rows."""


def vote_spec() -> dict[str, Any]:
    """An endpoint whose policy looks into every model's columns."""
    return {
        "endpoint": "vote",
        "inputs": [{"name": "x", "type": "FP64"}],
        "outputs": [
            {"name": "total", "type": "FP64", "nan": True, "missing": True},
            {"name": "count", "type": "UINT64"},
            {"name": "label", "type": "STRING", "missing": True},
        ],
        "models": {
            "liar": {"role": "champion", "weight": 2},
            "honest": {"role": "challenger"},
            "third": {"role": "challenger"},
        },
        "policy": {
            "deadline": "100ms",
            "steps": [
                {"until": "20ms", "take": "majority", "on": "label", "quorum": 2},
                {"until": "40ms", "take": "weighted", "on": "label", "quorum": 2},
                {"until": "60ms", "take": "median", "quorum": 2},
                {"until": "80ms", "take": "mean"},
            ],
            "otherwise": {"total": 0.0, "count": 0, "label": "none"},
        },
    }


SPECS = (echo_spec, sum_spec, vote_spec)


@cache
def endpoints() -> dict[str, Endpoint]:
    """Returns the endpoints by name, compiled."""
    return {str(make()["endpoint"]): compile_endpoint(parse_spec(make()), 3) for make in SPECS}


def frame_of(endpoint: str) -> v1.Frame:
    """Returns a good input of an endpoint."""
    rows = ROWS if endpoint == "echo" else SUM
    types = {spec.name: int(spec.type) for spec in endpoints()[endpoint].info.signature.inputs if spec.name in rows}
    return encode_frame(rows, types=types)


def frames() -> list[bytes]:
    """Frames: of the vectors, good and bad, and of our endpoints."""
    wires = [case["wire"] for topic in ("frames", "missing", "nans") for case in load_vectors(topic) if "wire" in case]
    return [bytes.fromhex(wire) for wire in wires] + [frame_of(name).SerializeToString() for name in ("echo", "sum")]


def score_requests() -> list[bytes]:
    """Requests of gRPC's Score."""
    made = [
        v1.ScoreRequest(request_id="r-1", endpoint=name, inputs=frame_of(name), context={"customer": "c"})
        for name in ("echo", "sum")
    ]
    made[0].diagnostics.explain = True
    made[1].diagnostics.force_model = "plus"
    made[1].traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    return [each.SerializeToString() for each in made]


def parcel_scores() -> list[bytes]:
    """What an honest model would answer to the parcel, for each endpoint; and one that failed on a request."""
    outputs: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "echo": ({name: (values * 2)[:4] for name, values in ROWS.items()}, {}),
        "sum": ({"total": [1.0, 2.0, 3.0, 4.0], "label": ["a", "b", "a", "b"]}, {}),
        "vote": (
            {"total": [1.0, None, 3.0, 4.0], "count": [1, 2, 3, 4], "label": ["a", None, "a", "b"]},
            {"count": "UINT64"},
        ),
    }
    made = []
    for name, (columns, types) in outputs.items():
        known = {spec.name: int(spec.type) for spec in endpoints()[name].info.signature.outputs if spec.name in columns}
        score = v1.ParcelScore(
            parcel_id="p",
            endpoint=name,
            model="liar",
            version="1",
            delivery=1,
            items=[{"request_id": request_id, "rows": rows} for request_id, rows in PARCEL],
            outputs=encode_frame(columns, types={**known, **types}),
        )
        score.timing.received_unix_us, score.timing.finished_unix_us = 1, 2**62
        made.append(score)
    failed = v1.ParcelScore.FromString(made[-1].SerializeToString())
    failed.items[1].error.code = v1.ErrorCode.ERROR_CODE_MODEL_FAILED
    failed.outputs.CopyFrom(encode_frame({"total": [1.0, 2.0], "count": [1, 2], "label": ["a", "b"]}, types=types))
    return [each.SerializeToString() for each in (*made, failed)]


def infer_requests() -> list[bytes]:
    """Requests of the Open Inference Protocol over gRPC: raw and typed contents."""
    tensor = ModelInferRequest.InferInputTensor
    raw = ModelInferRequest(
        model_name="sum",
        id="r-1",
        parameters={"timeout": InferParameter(int64_param=10**6), "context.customer": InferParameter(string_param="c")},
        inputs=[
            tensor(name="a", datatype="FP64", shape=[2]),
            tensor(name="b", datatype="INT64", shape=[2]),
            tensor(name="tag", datatype="BYTES", shape=[2]),
        ],
        outputs=[{"name": "total"}],
        raw_input_contents=[bytes(16), bytes(16), b"\1\0\0\0x\1\0\0\0y"],
    )
    typed = ModelInferRequest(
        model_name="echo/echo",
        model_version="1",
        inputs=[
            tensor(name="flag", datatype="BOOL", shape=[2], contents=InferTensorContents(bool_contents=[True, False])),
            tensor(name="u8", datatype="UINT8", shape=[2], contents=InferTensorContents(uint_contents=[1, 300])),
            tensor(
                name="matrix", datatype="FP64", shape=[2, 2, 3], contents=InferTensorContents(fp64_contents=[1.0] * 12)
            ),
            tensor(
                name="text", datatype="BYTES", shape=[2], contents=InferTensorContents(bytes_contents=[b"a", b"\xff"])
            ),
            tensor(
                name="text.missing", datatype="BOOL", shape=[2], contents=InferTensorContents(bool_contents=[True] * 2)
            ),
        ],
    )
    return [raw.SerializeToString(), typed.SerializeToString()]


def infer_bodies() -> list[bytes]:
    """Requests of the same over REST, behind a line that is the header `Inference-Header-Content-Length`."""
    plain = (
        b'{"id": "r-1", "parameters": {"timeout": 1000000}, "inputs": ['
        b'{"name": "a", "shape": [2], "datatype": "FP64", "data": [1.5, 2]},'
        b'{"name": "b", "shape": [2, 1], "datatype": "INT64", "data": [[1], [2]]},'
        b'{"name": "tag", "shape": [2], "datatype": "BYTES", "data": ["x", "y"]}],'
        b'"outputs": [{"name": "total", "parameters": {"binary_data": true}}]}'
    )
    binary = (
        b'{"inputs": [{"name": "a", "shape": [2], "datatype": "FP64", "parameters": {"binary_data_size": 16}},'
        b'{"name": "b", "shape": [2], "datatype": "INT64", "parameters": {"binary_data_size": 16}},'
        b'{"name": "tag", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 10}}]}'
    )
    behind = bytes(32) + b"\1\0\0\0x\1\0\0\0y"
    return [b"\n" + plain, b"%d\n" % len(binary) + binary + behind, b"0" * 5000 + b"5\n" + plain]


def json_bodies() -> list[bytes]:
    """Bodies of REST: rows and columns."""
    return [
        b'{"rows": [{"a": 1.5, "b": 2, "tag": "x"}, {"b": -3, "a": 1e9, "tag": ":\\u00fc"}], "context": {"k": "v"}}',
        b'[{"a": 1, "b": 2, "tag": "[{"}]',
        b'{"columns": {"a": [1.5], "b": [9223372036854775807], "tag": [""]}, "request_id": "r-1"}',
        b'[{"f64": "NaN", "f32": null, "blob": "AAE=", "matrix": [[1, 2, 3], [4, 5, 6]], "words": ["a", ""]}]',
        b'{"rows": [{"f16": 65504, "u64": 18446744073709551615, "flag": true, "i8": -128}]}',
    ]


def csv_bodies() -> list[bytes]:
    """The same as CSV."""
    return [
        b'a,b,tag\n1.5,2,x\n-1e-3,-3,"y,\n""z"""\n',
        b'f64,f32,blob,matrix,words,flag\r\nNaN,,AAE=,"[[1,2,3],[4,5,6]]","[""a"",""""]",true\r\n',
        b"\xef\xbb\xbfa,b,tag\n,,\n",
    ]


def arrow_bodies() -> list[bytes]:
    """The same as Arrow IPC: stream, file, dictionary, views, lists."""
    tables = [
        pa.table(SUM),
        pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode(), "f64": pa.array([1.0, None, 3.0])}),
        pa.table({"text": pa.array(["a" * 20, None], pa.string_view()), "i8": pa.array([1, -1], pa.int8())}),
        pa.table({"matrix": pa.array([[[1.0, 2, 3], [4, 5, 6]]]), "words": pa.array([["a", "b"]])}),
    ]
    made = []
    for table in tables:
        for new in (pa.ipc.new_stream, pa.ipc.new_file):
            sink = pa.BufferOutputStream()
            with new(sink, table.schema) as writer:
                writer.write_table(table)
            made.append(bytes(sink.getvalue()))
    return made


def packed_bodies() -> list[bytes]:
    """Compressed bodies, behind a line that is their Content-Encoding."""
    text = json_bodies()[0] * 20
    return [
        b"gzip\n" + gzip.compress(text, mtime=0) + gzip.compress(b"more", mtime=0),
        b"deflate\n" + zlib.compress(text),
        b"zstd\n" + zstandard.compress(text) + zstandard.compress(b"more"),
        b"identity\n" + text,
        b"br, gzip\n" + text,
    ]


def heads() -> list[bytes]:
    """A query in the first line, then headers."""
    return [
        b"explain=true&model=plus&context.customer=c%20d&trace\n"
        b"content-type: application/json; charset=utf-8\naccept: text/csv;q=0.5, application/*;q=0.1, */*;q=nan\n"
        b"rendezvous-timeout-ms: 250.5\nauthorization: Bearer rv_abcdefghijkl_" + b"a2" * 26 + b"\nx-request-id: r-1\n",
        b"\ncontent-type: text/csv\naccept: application/vnd.apache.arrow.stream\ncontent-encoding: zstd\n",
    ]


def registers() -> list[bytes]:
    """Registers of tenants."""
    key = {
        "id": "abcdefghijkl",
        "scopes": ["score", "model:sum/plus"],
        "salt": "00ff" * 8,
        "digest": "ab" * 32,
        "versions": ["1"],
        "created_unix_s": 1,
        "expires_unix_s": None,
        "note": "ü",
    }
    hashes = dict.fromkeys(ROLES, "$2a$06$")
    tenant = {"name": "acme", "created_unix_s": 1, "keys": {"abcdefghijkl": key}, "role_hashes": hashes}
    share = {"owner": "acme", "endpoint": "sum", "receiver": "other", "alias": "theirs"}
    both = {"acme": tenant, "other": {"name": "other", "created_unix_s": 2, "role_hashes": hashes}}
    return [json.dumps({"revision": 7, "tenants": both, "shares": [share]}).encode(), b"{}"]


def specs() -> list[bytes]:
    """Specifications of endpoints, JSON and YAML."""
    text = (
        b"endpoint: risk\ninputs: &in\n  - {name: a, type: INT64, missing: true}\n"
        b"  - {name: b, type: FP32, shape: [2]}\n"
        b"outputs: [{name: p, type: FP64}]\nmodels:\n  one: {role: champion}\n  two: {role: challenger, weight: 2}\n"
        b"policy:\n  deadline: 100ms\n  steps:\n    - {until: 40ms, take: best, of: [one]}\n"
        b"    - {until: 90ms, take: split, shares: {one: 0.5, two: 0.5}, by: customer}\n"
        b"  otherwise: {p: 1.0}\nlimits: {max_rows: 10}\npostbox: {max_age: 1d}\n"
    )
    return [*(json.dumps(make()).encode() for make in SPECS), text]


def view_all(frame: v1.Frame) -> None:
    """Reads a frame in every way, if it has no more rows than the router takes."""
    view = FrameView(frame)
    if view.rows > MOST_ROWS:
        return
    view.to_records()
    view.to_arrow()
    view.to_pandas()
