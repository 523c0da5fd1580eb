"""The same 200 rows through every door and every client: answers that are identical to the last bit."""

import asyncio
import base64
import io
import json
import math
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import pyarrow as pa
import pytest
import requests
from rendezvous_proto import inference as oip
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.oip.tensors import FIELDS
from rendezvous_sdk import AsyncClient, Client

from tests.oip.conftest import FLAVOURS, Inference
from tests.support.languages import require_language
from tests.support.stack import Stack
from toolchains.building import is_built
from toolchains.clients import CLIENTS, TRITONCLIENT, TRITONCLIENT_PYTHON
from toolchains.languages import R_LIBRARY, ROOT
from toolchains.programs import PROBE_JAR

ROWS, PIECE = 200, 64
KINDS = {
    "flag": "BOOL",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "f32": "FP32",
    "f64": "FP64",
    "text": "STRING",
    "blob": "BYTES",
    "vector": "FP64",
}
"""Every type but FP16, which has no typed contents in the Open Inference Protocol."""
ELEMENTS = {"vector": 3}
SPEC: dict[str, Any] = {
    "endpoint": "same",
    "inputs": [
        {"name": name, "type": kind, "missing": True, "nan": name == "f64"}
        | ({"shape": [ELEMENTS[name]]} if name in ELEMENTS else {})
        for name, kind in KINDS.items()
    ],
    "outputs": [
        {"name": "hash", "type": "INT64"},
        {"name": "ratio", "type": "FP64"},
        {"name": "echo", "type": "STRING", "missing": True},
        {"name": "back", "type": "FP64", "missing": True, "nan": True},
    ],
    "models": {"exact": {"role": "champion"}},
    "policy": {"deadline": "20s", "steps": [{"take": "first"}], "otherwise": "error"},
}
TEXTS = ["", "NA", "null", "NaN", "0", 'Zoë, "so"\r\nnext', "日本\t語", "\u00a0 ", "🦆𝄞", "e\u0301 é", "\\N", "' ;--"]
FLOATS = [0.0, -0.0, 0.1, -1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22, 123456789012345680.0]
Rows = list[tuple[int, str, str | None, str | None]]
"""Of each row the answer: hash, bits of the ratio, text, bits of the number that came back."""


def make_table() -> dict[str, list[Any]]:
    """Returns the rows; one cell in twelve is missing."""
    chance = random.Random(11)
    makers: dict[str, Callable[[], Any]] = {
        "flag": lambda: chance.random() < 0.5,
        "f32": lambda: float(np.float32(chance.choice([chance.gauss(0, 1e3), 3.4028235e38, 1e-45, -0.0]))),
        "f64": lambda: chance.choice([*FLOATS, float("nan"), chance.gauss(0, 1), chance.random() * 1e-300]),
        "text": lambda: chance.choice(TEXTS) + chance.choice(["", str(chance.random())]),
        "blob": lambda: chance.choice(["", "\0", "ÿ", "x" * 40, f"{chance.random()}"]).encode(),
        "vector": lambda: [chance.choice([*FLOATS, chance.gauss(0, 1)]) for _ in range(3)],
    }
    for name, kind in KINDS.items():
        if "INT" in kind:
            # R holds neither UINT64 above 2^63 - 1 nor the smallest of INT64 and INT32.
            bits = int(kind.partition("INT")[2]) - (not kind.startswith("U") or kind == "UINT64")
            low, high = 0 if kind.startswith("U") else -(2**bits) + 1, 2**bits - 1
            makers[name] = lambda low=low, high=high: chance.choice([low, high, high - 1, chance.randint(low, high)])
    return {name: [None if chance.random() < 1 / 12 else makers[name]() for _ in range(ROWS)] for name in KINDS}


TABLE = make_table()


def is_nan(value: Any) -> bool:
    """Returns whether a cell is the number that is none."""
    return isinstance(value, float) and math.isnan(value)


def bits(value: float | None) -> str | None:
    """Returns a float's bits as text; NaN is one, whatever its bits."""
    return None if value is None else float(value).hex()


def rows_of(columns: dict[str, Sequence[Any]]) -> Rows:
    """Returns an answer's rows, from columns of Python values."""
    return [
        (int(each), str(bits(ratio)), echo, bits(back))
        for each, ratio, echo, back in zip(*(columns[name] for name in ("hash", "ratio", "echo", "back")), strict=True)
    ]


def rows_of_answer(answer: Any) -> Rows:
    """Returns the rows of an SDK's answer."""
    return rows_of(answer.to_arrow().to_pydict())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with the endpoint and its model."""
    folder = tmp_path_factory.mktemp("same")
    server = NatsServer(store=folder / "nats")
    server.start()
    made = Stack(folder, server)
    try:
        asyncio.run(made.apply(SPEC))
        made.start_router()
        made.start_model("tests.support.exact:exact", endpoint="same")
        yield made
    finally:
        made.stop()
        server.stop()


@pytest.fixture(scope="module")
def expected(stack: Stack) -> Rows:
    """What the Python client is answered."""
    with Client(stack.address, "same") as client:
        found = rows_of_answer(client.score(TABLE, timeout=20))
    assert len(found) == ROWS
    assert len({row[0] for row in found}) == ROWS, "no two rows are the same"
    assert any(row[2] is None for row in found)
    assert any(row[3] == "nan" for row in found)
    return found


def arrow_table() -> pa.Table:
    """Returns the rows as Arrow has them."""
    types = {
        "BOOL": pa.bool_(),
        "FP32": pa.float32(),
        "FP64": pa.float64(),
        "STRING": pa.string(),
        "BYTES": pa.binary(),
    }
    made = {}
    for name, kind in KINDS.items():
        one = types[kind] if kind in types else getattr(pa, kind.lower())()
        made[name] = pa.array(TABLE[name], type=pa.list_(one) if name in ELEMENTS else one)
    return pa.table(made)


def pieces() -> list[dict[str, list[Any]]]:
    """Returns the rows in pieces."""
    starts = range(0, ROWS, PIECE)
    return [{name: values[start : start + PIECE] for name, values in TABLE.items()} for start in starts]


def test_a_changed_bit_changes_the_answer(stack: Stack, expected: Rows) -> None:
    """So that the tests below could fail: one bit of one cell of any column gives another answer for that row."""
    changed = {
        "flag": lambda value: not value,
        "text": lambda value: value + "\u0301",
        "blob": lambda value: value + b"\0",
        "f32": lambda value: float(np.nextafter(np.float32(value), np.float32(0))) if value else 1e-45,
        "f64": lambda value: float(np.nextafter(value, 0)) if value else -value,
        "vector": lambda value: [*value[:2], -value[2]],
    }
    with Client(stack.address, "same") as client:
        for name, values in TABLE.items():
            row = next(at for at in range(ROWS) if values[at] is not None and not is_nan(values[at]))
            other = changed.get(name, lambda value: value ^ 1)(values[row])
            answer = rows_of_answer(client.score({**TABLE, name: [*values[:row], other, *values[row + 1 :]]}))
            assert [at for at in range(ROWS) if answer[at] != expected[at]] == [row], name


def test_python_streams_and_tables(stack: Stack, expected: Rows) -> None:
    """The blocking client: a stream of pieces, and a table in chunks."""
    with Client(stack.address, "same") as client:
        answers = list(client.stream(pieces()))
        assert list(chain.from_iterable(map(rows_of_answer, answers))) == expected
        table = client.score_table(arrow_table(), chunk_rows=PIECE, progress=False)
        assert rows_of(table.to_pydict()) == expected


async def test_python_asyncio(stack: Stack, expected: Rows) -> None:
    """The same of the asyncio client."""

    async def tables() -> AsyncIterator[Any]:
        for piece in pieces():
            yield piece

    async with AsyncClient(stack.address, "same") as client:
        assert rows_of_answer(await client.score(TABLE)) == expected
        streamed = [rows_of_answer(answer) async for answer in client.stream(tables())]
        assert list(chain.from_iterable(streamed)) == expected
        table = await client.score_table(arrow_table(), chunk_rows=PIECE, progress=False)
        assert rows_of(table.to_pydict()) == expected


def plain(value: Any) -> Any:
    """Returns a value as REST's JSON has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return "NaN" if is_nan(value) else value


def csv() -> bytes:
    """Returns the rows as CSV."""

    def cell(value: Any) -> str:
        value = plain(value)
        if value is None or value == "NaN":
            return value or ""
        text = value if isinstance(value, str) else json.dumps(value)
        return f'"{text.replace(chr(34), chr(34) * 2)}"' if isinstance(value, str | list) else text

    lines = [",".join(TABLE), *(",".join(map(cell, row)) for row in zip(*TABLE.values(), strict=True))]
    return "\r\n".join([*lines, ""]).encode()


def arrow() -> bytes:
    """Returns the rows as an Arrow stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, arrow_table().schema) as writer:
        writer.write_table(arrow_table())
    return sink.getvalue()


JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
BODIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "rows": (
        JSON,
        lambda: json.dumps(
            {"rows": [dict(zip(TABLE, map(plain, row), strict=True)) for row in zip(*TABLE.values(), strict=True)]}
        ).encode(),
    ),
    "columns": (
        JSON,
        lambda: json.dumps({"columns": {name: list(map(plain, values)) for name, values in TABLE.items()}}).encode(),
    ),
    "csv": (CSV, csv),
    "arrow": (ARROW, arrow),
}


def columns_of_json(body: bytes) -> dict[str, list[Any]]:
    """Returns the columns of a JSON answer, given as rows or as columns."""
    answer = json.loads(body)
    columns = answer.get("columns") or {name: [row[name] for row in answer["rows"]] for name in answer["rows"][0]}
    return {**columns, "back": [None if value is None else float(value) for value in columns["back"]]}


@pytest.mark.parametrize("accept", [JSON, ARROW])
@pytest.mark.parametrize("kind", BODIES)
def test_rest(stack: Stack, expected: Rows, kind: str, accept: str) -> None:
    """JSON as rows and as columns, CSV and Arrow; answered as JSON and as Arrow."""
    media, write = BODIES[kind]
    answer = requests.post(
        f"{stack.rest}/v1/endpoints/same/score",
        data=write(),
        headers={"content-type": media, "accept": accept},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    if accept == ARROW:
        assert rows_of(pa.ipc.open_stream(answer.content).read_all().to_pydict()) == expected
    else:
        assert rows_of(columns_of_json(answer.content)) == expected


def tensors() -> Iterator[tuple[str, str, list[int], list[Any]]]:
    """Yields name, datatype, shape and elements of each tensor of the Open Inference Protocol."""
    for name, kind in KINDS.items():
        missing = [value is None for value in TABLE[name]]
        size = ELEMENTS.get(name)
        zero: Any = {"STRING": "", "BYTES": b"", "BOOL": False, "FP32": 0.0, "FP64": 0.0}.get(kind, 0)
        filled = [([zero] * size if size else zero) if value is None else value for value in TABLE[name]]
        shape = [ROWS, size] if size else [ROWS]
        yield name, "BYTES" if kind == "STRING" else kind, shape, list(chain(*filled)) if size else filled
        yield f"{name}.missing", "BOOL", [ROWS], missing


def rows_of_tensors(outputs: dict[str, Sequence[Any]]) -> Rows:
    """Returns the rows of the outputs, elements in Python's types, with their companions."""

    def with_missing(name: str) -> list[Any]:
        gone = outputs.get(f"{name}.missing", [False] * ROWS)
        return [None if is_gone else value for value, is_gone in zip(outputs[name], gone, strict=True)]

    back = [float("nan") if value is None else value for value in outputs["back"]]
    return rows_of(
        {**{name: with_missing(name) for name in ("hash", "ratio", "echo")}, "back": back}
        | {
            "back": [
                None if is_gone else value
                for value, is_gone in zip(back, outputs.get("back.missing", [False] * ROWS), strict=True)
            ]
        }
    )


def test_open_inference_rest_json(stack: Stack, expected: Rows) -> None:
    """Without the binary extension."""

    def element(value: Any) -> Any:
        return None if is_nan(value) else value.decode() if isinstance(value, bytes) else value

    inputs = [
        {"name": name, "datatype": kind, "shape": shape, "data": list(map(element, values))}
        for name, kind, shape, values in tensors()
    ]
    answer = requests.post(f"{stack.rest}/v2/models/same/infer", json={"inputs": inputs}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert rows_of_tensors({each["name"]: each["data"] for each in answer.json()["outputs"]}) == expected


def test_open_inference_grpc_typed(stack: Stack, expected: Rows) -> None:
    """With typed contents."""
    request = oip.ModelInferRequest(model_name="same")
    for name, kind, shape, values in tensors():
        made = request.inputs.add(name=name, datatype=kind, shape=shape)
        elements = [each.encode() if isinstance(each, str) else each for each in values]
        getattr(made.contents, FIELDS[kind]).extend(elements)
    with grpc.insecure_channel(stack.address) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            oip.ModelInferRequest.SerializeToString,
            oip.ModelInferResponse.FromString,
        )
        answer = call(request, timeout=20)
    outputs = {each.name: list(getattr(each.contents, FIELDS[each.datatype])) for each in answer.outputs}
    outputs["echo"] = [each.decode() for each in outputs["echo"]]
    assert rows_of_tensors(outputs) == expected


NUMPY = {"BOOL": "?", "FP32": "<f4", "FP64": "<f8"} | {
    f"{sign}INT{size * 8}": f"<{sign.lower() or 'i'}{size}" for sign in ("", "U") for size in (1, 2, 4, 8)
}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_tritonclient(stack: Stack, expected: Rows, flavour: str) -> None:
    """Raw contents over gRPC, binary tensors over REST, by the public client."""
    if not is_built(CLIENTS[TRITONCLIENT]):
        pytest.skip("tritonclient is not prepared: make test, or .venv/bin/python -m toolchains prepare tritonclient")

    def contents(kind: str, values: list[Any]) -> Any:
        if kind == "BYTES":
            return [(each.encode() if isinstance(each, str) else each).hex() for each in values]
        return np.array(values, NUMPY[kind]).tobytes().hex()

    inputs = [
        {"name": name, "datatype": kind, "shape": shape, "contents": contents(kind, values)}
        for name, kind, shape, values in tensors()
    ]
    inference = Inference(stack, urlsplit(stack.rest).netloc, str(TRITONCLIENT_PYTHON))
    [answer] = inference.triton(flavour, [{"do": "infer", "model": "same", "inputs": inputs}])
    assert "outputs" in answer, answer
    outputs = {
        name: [bytes.fromhex(each).decode() for each in told["contents"]]
        if told["datatype"] == "BYTES"
        else np.frombuffer(bytes.fromhex(told["contents"]), NUMPY[told["datatype"]]).tolist()
        for name, told in answer["outputs"].items()
    }
    assert rows_of_tensors(outputs) == expected


def write_cells(path: Path) -> None:
    """Writes the rows for the programs in other languages: a line a column, floats and octets as hexadecimal."""

    def cell(value: Any) -> str:
        if value is None:
            return "NA"
        if isinstance(value, list):
            return ",".join(map(cell, value))
        if isinstance(value, float):
            return "NaN" if is_nan(value) else value.hex()
        if isinstance(value, str | bytes):
            return (value.encode() if isinstance(value, str) else value).hex()
        return str(int(value))

    lines = [[name, KINDS[name], str(ELEMENTS.get(name, 1)), *map(cell, values)] for name, values in TABLE.items()]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))


FOLDER = ROOT / "tests" / "same_rows"
PROGRAMS = {
    "java": (["java", "-cp", str(PROBE_JAR), str(FOLDER / "SameRows.java")], {}, {"score", "async", "stream", "table"}),
    "r": (["Rscript", str(FOLDER / "same_rows.R")], {"R_LIBS": str(R_LIBRARY)}, {"score", "stream", "table"}),
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_other_languages_clients(stack: Stack, expected: Rows, language: str, tmp_path: Path) -> None:
    """Java's client and R's: unary, streamed, as a table."""
    require_language(language)
    write_cells(tmp_path / "cells")
    command, environment, ways = PROGRAMS[language]
    done = subprocess.run(
        [*command, stack.address, "same", str(tmp_path / "cells")],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Rows] = {}
    for line in done.stdout.splitlines():
        way, told, ratio, echo, back = line.split("\t")
        text = None if echo == "NA" else bytes.fromhex(echo).decode()
        number = None if back == "NA" else bits(float.fromhex(back))
        found.setdefault(way, []).append((int(told), str(bits(float.fromhex(ratio))), text, number))
    assert found == dict.fromkeys(ways, expected)
