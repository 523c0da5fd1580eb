"""Tables for a model whose signature is known only at run time, and how two columns differ."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView, encode_frame

__all__ = ["InputMaker", "difference", "make_column", "type_name"]

DTYPES = {
    "BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
_UNDECLARED = v1.ColumnSpec(name="x", type=v1.DataType.DATA_TYPE_FP64)


def type_name(kind: int) -> str:
    """Returns the name of a type as documentation writes it (`FP64`)."""
    return v1.DataType.Name(kind).removeprefix("DATA_TYPE_")


def make_column(spec: v1.ColumnSpec, values: Sequence[Any]) -> v1.Column:
    """Returns a column of a declared type and shape.

    Args:
        spec: name, type and shape.
        values: one a row, nested lists where shaped; None: missing.
    """
    column = v1.Column(name=spec.name, type=spec.type, shape=spec.shape)
    missing = np.array([value is None for value in values], dtype=bool)
    if missing.any():
        column.missing = np.packbits(missing, bitorder="little").tobytes()
    shape, kind = tuple(spec.shape), type_name(spec.type)
    if kind in DTYPES:
        array = np.zeros((len(values), *shape), DTYPES[kind])
        for row, value in enumerate(values):
            if value is not None:
                array[row] = value
        column.values = array.tobytes()
        return column
    blank: Any = "" if kind == "STRING" else b""
    elements = [each for value in values for each in ([blank] * math.prod(shape) if value is None else _flat(value))]
    (column.strings if kind == "STRING" else column.blobs).extend(elements)
    return column


def _flat(value: Any) -> list[Any]:
    return [each for part in value for each in _flat(part)] if isinstance(value, list) else [value]


def _ordinary(spec: v1.ColumnSpec, row: int) -> Any:
    """Returns a value that nothing is special about and that tells its row."""
    kind = type_name(spec.type)
    scalar: Any = row % 100
    if kind == "BOOL":
        scalar = bool(row % 2)
    elif kind == "STRING":
        scalar = f"r{row}"
    elif kind == "BYTES":
        scalar = row.to_bytes(4, "little")
    value = scalar
    for dimension in reversed(spec.shape):
        value = [value] * dimension
    return value


class InputMaker:
    """Makes tables that fit a model's declared inputs.

    Args:
        signature: the model's; one that declares nothing is given a column `x` of FP64.
        is_probe: whether the model has the probe's column `command`.
        examples: rows to take values from, in turn; for models that do not take just any text or number.
    """

    def __init__(self, signature: v1.Signature, *, is_probe: bool, examples: Sequence[Mapping[str, Any]] = ()) -> None:
        undeclared = _specs_of(examples) if examples else [_UNDECLARED]
        self.specs = {spec.name: spec for spec in signature.inputs or undeclared}
        self.outputs = {spec.name: spec for spec in signature.outputs}
        self.is_declared = bool(signature.inputs)
        self._is_probe = is_probe
        self._examples = examples

    def table(self, rows: int, *, first: int = 0, columns: Mapping[str, Sequence[Any]] | None = None) -> v1.Frame:
        """Returns a table of ordinary values.

        Args:
            rows: how many.
            first: number of the first row; tables with other numbers hold other values.
            columns: values of single columns, in place of the ordinary ones.
        """
        made = []
        for name, spec in self.specs.items():
            values = (columns or {}).get(name) or [self._value(spec, row) for row in range(first, first + rows)]
            made.append(make_column(spec, values))
        return v1.Frame(rows=rows, columns=made)

    def command(self, *commands: str, first: int = 0) -> v1.Frame:
        """Returns a table of the probe with these commands, one a row."""
        return self.table(len(commands), first=first, columns={"command": commands})

    def _value(self, spec: v1.ColumnSpec, row: int) -> Any:
        if self._is_probe and spec.name == "command":
            return ""
        if self._examples:
            return self._examples[row % len(self._examples)].get(spec.name)
        return _ordinary(spec, row)


def _specs_of(examples: Sequence[Mapping[str, Any]]) -> list[v1.ColumnSpec]:
    """Returns the columns that rows have, for a model that declares none."""
    frame = encode_frame(list(examples))
    return [v1.ColumnSpec(name=column.name, type=column.type, shape=column.shape) for column in frame.columns]


def difference(expected: v1.Column, actual: v1.Column, rows: int) -> str:
    """Returns how two columns of one table differ, empty if they do not; NaN equals NaN, whatever its payload."""
    where = f"column {expected.name!r}"
    sent, got = (FrameView(v1.Frame(rows=rows, columns=[each])) for each in (expected, actual))
    for what, left, right in (
        ("name", expected.name, actual.name),
        ("type", type_name(expected.type), type_name(actual.type)),
        ("shape", list(expected.shape), list(actual.shape)),
        ("missing rows", _missing(sent, expected.name), _missing(got, actual.name)),
    ):
        if left != right:
            return f"{where}: {what} {left} came back as {right}"
    if type_name(expected.type) not in DTYPES:
        for kind in ("strings", "blobs"):
            pairs = zip(getattr(expected, kind), getattr(actual, kind), strict=True)
            for index, (left, right) in enumerate(pairs):
                if left != right:
                    return f"{where}: element {index}, {left!r}, came back as {right!r}"
        return ""
    return _number_difference(where, sent[expected.name], got[actual.name])


def _missing(view: FrameView, name: str) -> list[int]:
    missing = view.missing(name)
    return [] if missing is None else [int(row) for row in missing.nonzero()[0]]


def _number_difference(where: str, sent: Any, got: Any) -> str:
    bits = f"<u{sent.dtype.itemsize}"
    same = np.ascontiguousarray(sent).view(bits) == np.ascontiguousarray(got).view(bits)
    if sent.dtype.kind == "f":
        same |= np.isnan(sent) & np.isnan(got)
    if same.all():
        return ""
    index = np.argwhere(~same)[0].tolist()
    left, right = sent[tuple(index)].item(), got[tuple(index)].item()
    return f"{where}: {left!r} in row {index[0]} came back as {right!r}"
