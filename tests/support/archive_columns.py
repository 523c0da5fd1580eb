"""Columns of made-up archives: constants, moments, ids, lists."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rendezvous_sdk.archive.schema import schema_of

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)

_Array = np.ndarray[Any, Any]


def constant(value: Any, rows: int) -> pa.Array:
    """Returns a column of one value; None: of nulls, as text."""
    return pa.nulls(rows, pa.string()) if value is None else pa.repeat(value, rows)


def at(unix_us: _Array) -> pa.Array:
    """Returns moments of microseconds since 1970-01-01 UTC."""
    return pa.array(unix_us).cast(pa.timestamp("us", tz="UTC"))


def masked(array: pa.Array, mask: _Array) -> pa.Array:
    """Returns a column with nulls where the mask is true."""
    return array.take(pa.array(np.arange(len(array)), mask=mask))


def cases(numbers: _Array) -> pa.Array:
    """Returns the business keys of requests."""
    return pc.binary_join_element_wise("case-", pa.array(numbers).cast(pa.string()), "")


def contexts(numbers: _Array) -> pa.Array:
    """Returns the contexts of requests."""
    offsets = np.arange(len(numbers) + 1, dtype=np.int32)
    return pa.MapArray.from_arrays(pa.array(offsets), constant("case_id", len(numbers)), cases(numbers))


def no_provenance(rows: int) -> pa.Array:
    """Returns empty provenances."""
    kind = schema_of("inputs").field("provenance").type
    return pa.ListArray.from_arrays(np.zeros(rows + 1, np.int32), pa.array([], kind.value_type))


def lists(values: pa.Array, lengths: _Array) -> pa.Array:
    """Returns lists of so many of the values in turn; a negative length makes null."""
    ends = np.cumsum(np.maximum(lengths, 0))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    mask = np.concatenate([lengths < 0, [False]])
    return pa.ListArray.from_arrays(pa.array(offsets, mask=mask), values)


def make_ids(stored_us: _Array, numbers: _Array, salt: int) -> pa.Array:
    """Returns ids as UUID version 7 has them: the time in milliseconds, then what tells them apart."""
    count = len(numbers)
    nibbles = np.empty((count, 36), np.uint8)
    places = [place for place in range(36) if place not in (8, 13, 18, 23)]
    high = (stored_us // 1000).astype(np.uint64)
    low = numbers.astype(np.uint64)
    for index, place in enumerate(places):
        if index < 12:
            value = high >> np.uint64(4 * (11 - index))
        elif index < 16:
            value = np.full(count, salt >> (4 * (15 - index)), np.uint64)
        elif index == 16:
            value = np.full(count, 8, np.uint64)
        else:
            value = low >> np.uint64(4 * (31 - index))
        nibbles[:, place] = _HEX[(value & np.uint64(15)).astype(np.intp)]
    nibbles[:, [8, 13, 18, 23]] = ord("-")
    offsets = np.arange(0, 36 * (count + 1), 36, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(nibbles.tobytes()))
