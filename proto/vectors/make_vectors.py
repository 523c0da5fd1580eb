"""Writes the conformance vectors from the protocol, independently of the codec under test.

Uses nothing but `struct` and a few lines of protobuf's wire format; never `rendezvous_proto`.
Run: `python proto/vectors/make_vectors.py [--check]`. Values in JSON: 64-bit integers are decimal text, bytes are
hexadecimal, floats that JSON cannot hold are "NaN", "Infinity", "-Infinity"; null is a missing row.
"""

import json
import struct
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
TYPES = [
    "UNSPECIFIED", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES", "STRING",
]  # fmt: skip
FORMATS = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
Json = dict[str, Any]


def varint(number: int) -> bytes:
    """Encodes a varint; negative numbers as 64-bit two's complement."""
    number &= (1 << 64) - 1
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


def field(number: int, content: bytes) -> bytes:
    """Encodes a length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def column(name: str, kind: str, values: list[Any], shape: tuple[int, ...] = ()) -> Json:
    """Describes one column: its values, and the fields that the protocol gives it."""
    each = 1
    for dimension in shape:
        each *= dimension
    encoded: Json = {"values": "", "strings": [], "blobs": [], "missing": bitmap([v is None for v in values])}
    for value in values:
        elements = [None] * each if value is None else flat(value)
        if kind == "STRING":
            encoded["strings"] += [element or "" for element in elements]
        elif kind == "BYTES":
            encoded["blobs"] += [element or "" for element in elements]
        else:
            numbers = [number(kind, element) for element in elements]
            encoded["values"] += b"".join(struct.pack("<" + FORMATS[kind], n) for n in numbers).hex()
    return {"name": name, "type": kind, "shape": list(shape), "values": values, "encoded": encoded}


def flat(value: Any) -> list[Any]:
    """Lists the elements of nested lists in row-major order."""
    return [element for part in value for element in flat(part)] if isinstance(value, list) else [value]


def number(kind: str, element: Any) -> Any:
    """Returns the number that a JSON value stands for; 0 for a missing row's element."""
    present = 0 if element is None else element
    return float(present) if kind.startswith("FP") else int(present)


def bitmap(missing: list[bool]) -> str:
    """Encodes which rows are missing, as hexadecimal; nothing if none is."""
    octets = bytearray((len(missing) + 7) // 8)
    for row, gone in enumerate(missing):
        octets[row // 8] |= gone << row % 8
    return octets.hex() if any(missing) else ""


def column_wire(described: Json) -> bytes:
    """Encodes one column as protobuf, fields in ascending order."""
    encoded, shape = described["encoded"], b"".join(varint(d) for d in described["shape"])
    kind = described["type"]
    parts = [field(1, described["name"].encode()) if described["name"] else b""]
    parts.append(b"\x10" + varint(TYPES.index(kind) if isinstance(kind, str) else kind))
    parts.append(field(3, shape) if shape else b"")
    parts.append(field(4, bytes.fromhex(encoded["values"])) if encoded["values"] else b"")
    parts += [field(5, text.encode()) for text in encoded["strings"]]
    parts += [field(6, bytes.fromhex(blob)) for blob in encoded["blobs"]]
    parts.append(field(7, bytes.fromhex(encoded["missing"])) if encoded["missing"] else b"")
    return b"".join(parts)


def wire(rows: int, columns: list[Json]) -> str:
    """Encodes a frame as protobuf, as hexadecimal."""
    head = b"\x08" + varint(rows) if rows else b""
    return (head + b"".join(field(2, column_wire(each)) for each in columns)).hex()


def frame(name: str, rows: int, *columns: Json) -> Json:
    """Makes a case: these columns, encoded, are that message."""
    return {"name": name, "kind": "valid", "rows": rows, "columns": list(columns), "wire": wire(rows, list(columns))}


def broken(name: str, rows: int, *columns: Json, at: str) -> Json:
    """Makes a case: this message must be refused, naming the column *at* (empty: none)."""
    return {"name": name, "kind": "invalid", "wire": wire(rows, list(columns)), "error": "INVALID_FRAME", "column": at}


def spoilt(described: Json, **encoded: Any) -> Json:
    """Returns a column with other encoded fields than it should have."""
    return {**described, "encoded": {**described["encoded"], **encoded}}


def valid_frames() -> list[Json]:
    """Lists frames of every type and form."""
    extremes: dict[str, list[Any]] = {"BOOL": [True, False], "FP16": [0.5, -65504.0, "NaN"]}
    for kind, bits in (("INT", (8, 16, 32, 64)), ("UINT", (8, 16, 32, 64))):
        for width in bits:
            low = -(1 << width - 1) if kind == "INT" else 0
            high = (1 << width - (kind == "INT")) - 1
            pair = [low, high]
            extremes[f"{kind}{width}"] = [str(v) for v in pair] if width == 64 else pair
    extremes["FP32"] = [1.5, -0.0, "Infinity"]
    extremes["FP64"] = [0.1, 1e308, "-Infinity", "NaN"]
    extremes["STRING"] = ["", "radio/TV", "Zürich", "東京", "🚗", "a\u0000b"]
    extremes["BYTES"] = ["", "00ff", "68656c6c6f"]
    cases = [frame(f"one column of {k}", len(v), column("x", k, v)) for k, v in extremes.items()]
    two = column("amount", "FP64", [1169.0, 5951.0]), column("purpose", "STRING", ["radio/TV", "car"])
    return [
        *cases,
        frame("no rows, no columns", 0),
        frame("rows without columns", 3),
        frame("no rows", 0, column("x", "FP64", []), column("s", "STRING", [])),
        frame("columns of two types", 2, *two),
        frame("vectors", 2, column("v", "FP32", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], (3,))),
        frame("matrices, row-major", 1, column("m", "INT16", [[[1, 2, 3], [4, 5, 6]]], (2, 3))),
        frame("shaped strings", 2, column("w", "STRING", [["a", "b"], ["c", ""]], (2,))),
        frame("shape with a zero", 2, column("e", "FP64", [[], []], (0,))),
        frame("shape of one", 2, column("e", "INT8", [[7], [-7]], (1,))),
        frame("name that is not ASCII", 1, column("größe", "INT32", [184])),
    ]


def invalid_frames() -> list[Json]:
    """Lists messages that contradict themselves."""
    ok = column("x", "FP64", [1.0, 2.0])
    text = column("s", "STRING", ["a", "b"])
    flag = column("b", "BOOL", [True, False])
    return [
        broken("negative rows", -1, at=""),
        broken("too few bytes", 2, spoilt(ok, values="00" * 15), at="x"),
        broken("too many bytes", 2, spoilt(ok, values="00" * 17), at="x"),
        broken("no values", 2, spoilt(ok, values=""), at="x"),
        broken("too few strings", 3, text, at="s"),
        broken("strings in a column of floats", 2, spoilt(ok, strings=["a", "b"]), at="x"),
        broken("bytes beside strings", 2, spoilt(text, values="00"), at="s"),
        broken("blobs beside strings", 2, spoilt(text, blobs=["00", "01"]), at="s"),
        broken("strings in a column of blobs", 2, {**text, "type": "BYTES"}, at="s"),
        broken("second column is wrong", 2, ok, spoilt(text, strings=["a"]), at="s"),
        broken("two columns of one name", 2, ok, ok, at="x"),
        broken("column without a name", 2, {**ok, "name": ""}, at=""),
        broken("type not set", 2, {**ok, "type": 0}, at="x"),
        broken("unknown type", 2, {**ok, "type": 99}, at="x"),
        broken("BOOL byte 2", 2, spoilt(flag, values="0102"), at="b"),
        broken("negative dimension", 2, {**ok, "shape": [-1]}, at="x"),
        broken("two negative dimensions", 2, {**ok, "shape": [-1, -1]}, at="x"),
        broken("nine dimensions", 2, {**ok, "shape": [1] * 9}, at="x"),
        broken(
            "dimensions whose product is 0 in 64 bits", 2, {**spoilt(ok, values=""), "shape": [1 << 32] * 2}, at="x"
        ),
        broken("rows whose product is 0 in 64 bits", 1 << 61, spoilt(ok, values=""), at="x"),
        broken("bitmap too long", 2, spoilt(ok, missing="0000"), at="x"),
        broken("bitmap too short", 9, spoilt(column("x", "INT8", [0] * 9), missing="01"), at="x"),
        broken("spare bit set", 2, spoilt(ok, missing="04"), at="x"),
        broken("bitmap without rows", 0, spoilt(column("x", "INT8", []), missing="00"), at="x"),
    ]


def missing_cases() -> list[Json]:
    """Lists columns with missing rows, and what joining and slicing makes of their bitmaps."""
    cases = [
        frame("one of one", 1, column("x", "FP64", [None])),
        frame("first and last of nine", 9, column("x", "INT8", [None, 1, 2, 3, 4, 5, 6, 7, None])),
        frame("all of eight", 8, column("x", "BOOL", [None] * 8)),
        frame("missing and NaN are two things", 3, column("x", "FP64", ["NaN", None, 1.0])),
        frame("missing and empty text are two things", 3, column("s", "STRING", ["", None, "a"])),
        frame("missing and empty bytes are two things", 2, column("s", "BYTES", ["", None])),
        frame("a missing vector", 2, column("v", "FP32", [None, [1.0, 2.0]], (2,))),
        frame("a missing vector of text", 2, column("v", "STRING", [["a", "b"], None], (2,))),
    ]
    ten = [None if row in {0, 3, 8} else row for row in range(10)]
    spans = ((0, 10), (1, 3), (3, 9), (8, 10), (4, 8), (5, 5))
    cases += [cut(f"rows {start} to {stop} of ten", ten, start, stop) for start, stop in spans]
    parts = ((3, 6), (8, 2), (1, 1, 8), (0, 10))
    cases += [join(f"joined of {' and '.join(map(str, sizes))}", ten, sizes) for sizes in parts]
    cases.append(join("joined, only the second has any", [1, 2, 3, None], (3, 1)))
    return cases


def cut(name: str, values: list[Any], start: int, stop: int) -> Json:
    """Makes a case: rows *start* to *stop* of the first message are the second."""
    before, after = column("x", "INT16", values), column("x", "INT16", values[start:stop])
    return {
        "name": name, "kind": "slice", "start": start, "stop": stop,
        "wire": wire(len(values), [before]), "expected": wire(stop - start, [after]),
    }  # fmt: skip


def join(name: str, values: list[Any], sizes: tuple[int, ...]) -> Json:
    """Makes a case: the messages joined are the last one."""
    parts, first = [], 0
    for size in sizes:
        parts.append(wire(size, [column("x", "INT16", values[first : first + size])]))
        first += size
    return {
        "name": name,
        "kind": "join",
        "parts": parts,
        "expected": wire(first, [column("x", "INT16", values[:first])]),
    }


def parcel(name: str, *items: tuple[str, int, str | None]) -> Json:
    """Makes a case: items (id, rows, error of the score) and whose rows are where, in inputs and outputs."""
    listed, first, scored = [], 0, 0
    for request_id, rows, error in items:
        given = 0 if error else rows
        listed.append({
            "request_id": request_id, "rows": rows, "inputs": [first, first + rows], "error": error,
            "outputs": None if error else [scored, scored + given],
        })  # fmt: skip
        first += rows
        scored += given
    return {"name": name, "items": listed, "input_rows": first, "output_rows": scored}


def parcel_cases() -> list[Json]:
    """Lists parcels: which rows are whose."""
    return [
        parcel("one request of one row", ("a", 1, None)),
        parcel("one request of many rows", ("a", 1000, None)),
        parcel("three requests of one row", ("a", 1, None), ("b", 1, None), ("c", 1, None)),
        parcel("requests of several sizes", ("a", 2, None), ("b", 1, None), ("c", 5, None)),
        parcel("one failed in the middle", ("a", 2, None), ("b", 3, "MODEL_FAILED"), ("c", 1, None)),
        parcel("one expired before the others", ("a", 4, "EXPIRED"), ("b", 1, None)),
        parcel("all failed", ("a", 1, "MODEL_FAILED"), ("b", 2, "MODEL_FAILED")),
    ]


def deadline(name: str, *, stored: int, budget: int, broker_now: int, skew: int, expired: bool) -> Json:
    """Makes a case; *skew*: how far the model's own clock is ahead of the broker's. All in microseconds."""
    sealed = stored - 400
    return {
        "name": name, "sealed_unix_us": str(sealed), "deadline_unix_us": str(sealed + budget),
        "budget_us": budget, "stored_unix_us": str(stored), "broker_now_unix_us": str(broker_now),
        "local_now_unix_us": str(broker_now + skew), "expired": expired,
    }  # fmt: skip


def deadline_cases() -> list[Json]:
    """Lists items and the moments at which they are or are not expired."""
    t, ms, s = 1_760_000_000_000_000, 1_000, 1_000_000
    return [
        deadline("just stored", stored=t, budget=100 * ms, broker_now=t, skew=0, expired=False),
        deadline("a microsecond before", stored=t, budget=100 * ms, broker_now=t + 100 * ms - 1, skew=0, expired=False),
        deadline("at the deadline", stored=t, budget=100 * ms, broker_now=t + 100 * ms, skew=0, expired=True),
        deadline("long after", stored=t, budget=100 * ms, broker_now=t + 60 * s, skew=0, expired=True),
        deadline("own clock 5 s ahead", stored=t, budget=100 * ms, broker_now=t + 2 * ms, skew=5 * s, expired=False),
        deadline("own clock 5 s behind", stored=t, budget=100 * ms, broker_now=t + 3 * s, skew=-5 * s, expired=True),
        deadline("own clock an hour ahead", stored=t, budget=2 * s, broker_now=t + s, skew=3600 * s, expired=False),
        deadline("no budget was left", stored=t, budget=0, broker_now=t, skew=0, expired=True),
        deadline("sealed after its deadline", stored=t, budget=-5 * ms, broker_now=t, skew=0, expired=True),
    ]


def error_cases() -> list[Json]:
    """Lists every code: number, name, retryable, gRPC status and its number, HTTP status."""
    rows = [
        (1, "INVALID_REQUEST", False, "INVALID_ARGUMENT", 3, 400),
        (2, "INVALID_FRAME", False, "INVALID_ARGUMENT", 3, 400),
        (3, "SIGNATURE_MISMATCH", False, "INVALID_ARGUMENT", 3, 400),
        (4, "TOO_LARGE", False, "INVALID_ARGUMENT", 3, 413),
        (5, "UNKNOWN_ENDPOINT", False, "NOT_FOUND", 5, 404),
        (6, "UNKNOWN_MODEL", False, "NOT_FOUND", 5, 404),
        (7, "REQUEST_ID_CONFLICT", False, "ALREADY_EXISTS", 6, 409),
        (8, "INVALID_SPEC", False, "INVALID_ARGUMENT", 3, 400),
        (9, "EXPIRED", False, "DEADLINE_EXCEEDED", 4, 504),
        (10, "NO_ANSWER", True, "DEADLINE_EXCEEDED", 4, 504),
        (11, "OVERLOADED", True, "RESOURCE_EXHAUSTED", 8, 429),
        (12, "UNAVAILABLE", True, "UNAVAILABLE", 14, 503),
        (13, "MODEL_FAILED", False, "INTERNAL", 13, 500),
        (14, "INVALID_OUTPUT", False, "INTERNAL", 13, 502),
        (15, "UNAUTHENTICATED", False, "UNAUTHENTICATED", 16, 401),
        (16, "PERMISSION_DENIED", False, "PERMISSION_DENIED", 7, 403),
        (17, "UNIMPLEMENTED", False, "UNIMPLEMENTED", 12, 501),
        (18, "INTERNAL", False, "INTERNAL", 13, 500),
    ]
    keys = ("code", "name", "retryable", "grpc_status", "grpc_code", "http_status")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def files() -> dict[Path, str]:
    """Returns every file's text."""
    topics = {
        "frames": valid_frames() + invalid_frames(),
        "missing": missing_cases(),
        "parcels": parcel_cases(),
        "deadlines": deadline_cases(),
        "errors": error_cases(),
    }
    return {FOLDER / f"{topic}.json": text_of(topic, cases) for topic, cases in topics.items()}


def text_of(topic: str, cases: list[Json]) -> str:
    """Returns a file's text, one case a line."""
    lines = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
    return f'{{"topic": "{topic}", "protocol": 1, "cases": [\n{lines}\n]}}\n'


def main() -> int:
    """Writes the files, or with --check says which differ."""
    made = files()
    if "--check" not in sys.argv[1:]:
        for path, text in made.items():
            path.write_text(text)
        return 0
    stale = [path.name for path, text in made.items() if not path.exists() or path.read_text() != text]
    for name in stale:
        print(f"{name} differs: run proto/vectors/make_vectors.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
