"""An encoder of the protocol's messages that is independent of the codec under test.

Uses nothing but `struct` and a few lines of protobuf's wire format; never `rendezvous_proto`.
"""

import struct
from typing import Any

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
