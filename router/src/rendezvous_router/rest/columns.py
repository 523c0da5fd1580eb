"""Columns of JSON values against the endpoint's signature: coerced as the SDK's clients coerce theirs.

What all requests look like (numbers, text, BOOL of the declared type) is packed at once; anything else goes through
the frame codec, which has the rules and the words of every refusal.
"""

import base64
import binascii
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames import encode_frame, type_name

__all__ = ["NON_FINITE", "ColumnCodec", "encode_columns", "json_values"]

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How JSON and CSV write what JSON has no numbers for, in columns of floats."""

_T = v1.DataType
_FLOATS = (_T.DATA_TYPE_FP16, _T.DATA_TYPE_FP32, _T.DATA_TYPE_FP64)
_ANY_NUMBER, _FLOAT, _INT = frozenset({float, int}), frozenset({float}), frozenset({int})
_PACKED: dict[int, tuple[str, frozenset[type]]] = {
    _T.DATA_TYPE_FP64: ("d", _ANY_NUMBER),
    _T.DATA_TYPE_FP32: ("f", _FLOAT),
    _T.DATA_TYPE_INT64: ("q", _INT),
    _T.DATA_TYPE_INT32: ("i", _INT),
    _T.DATA_TYPE_INT16: ("h", _INT),
    _T.DATA_TYPE_INT8: ("b", _INT),
    _T.DATA_TYPE_UINT64: ("Q", _INT),
    _T.DATA_TYPE_UINT32: ("I", _INT),
    _T.DATA_TYPE_UINT16: ("H", _INT),
    _T.DATA_TYPE_UINT8: ("B", _INT),
}
_INT64_LIMIT = 1 << 63


class ColumnCodec:
    """Encodes one declared column.

    Args:
        spec: the declaration.
    """

    __slots__ = ("_format", "_one", "_taken", "kind", "name", "spec")

    def __init__(self, spec: v1.ColumnSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.kind = int(spec.type)
        self._format, self._taken = _PACKED.get(self.kind, ("", frozenset()))
        if spec.shape:
            self._taken = frozenset()
        self._one = struct.Struct("<" + self._format).pack

    def encode(self, values: Sequence[Any]) -> v1.Column:
        """Returns the column of *values*, one a row: JSON's, None where missing.

        Raises:
            InvalidFrameError: a value does not fit; names the column.
        """
        found = set(map(type, values))
        if found and found <= self._taken:
            try:
                packed = (
                    self._one(values[0]) if len(values) == 1 else struct.pack(f"<{len(values)}{self._format}", *values)
                )
                return v1.Column(name=self.name, type=self.kind, values=packed)  # type: ignore[arg-type] # the number
            except (struct.error, OverflowError):
                pass  # out of range: the codec says so in full
        elif self.kind == _T.DATA_TYPE_STRING and found == {str} and not self.spec.shape:
            return v1.Column(name=self.name, type=self.kind, strings=values)  # type: ignore[arg-type] # the number
        return self._encode_unusual(values)

    def _encode_unusual(self, values: Sequence[Any]) -> v1.Column:
        if self.kind in _FLOATS:
            values = _mapped(values, self._float_of)
        elif self.kind == _T.DATA_TYPE_BYTES:
            values = _mapped(values, self._octets_of)
        column = encode_frame({self.name: values}, types={self.name: self.kind}).columns[0]
        if self.spec.shape and not column.shape and values and all(value is None for value in values):
            _give_shape(column, self.spec.shape)
        return column

    def _float_of(self, value: Any) -> Any:
        if type(value) is int and not -_INT64_LIMIT <= value < _INT64_LIMIT:
            try:
                return float(value)
            except OverflowError as error:
                raise self._refusal("a number is out of the range of any float") from error
        if type(value) is not str:
            return value
        number = NON_FINITE.get(value)
        if number is None:
            raise self._refusal(
                f"{value[:40]!r} is text in a column of type {type_name(self.kind)}: "
                'give a number, null, "NaN", "Infinity" or "-Infinity"'
            )
        return number

    def _octets_of(self, value: Any) -> Any:
        if type(value) is not str:
            return value
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._refusal(f"{value[:40]!r} is not base64, as which BYTES are written") from error

    def _refusal(self, what: str) -> InvalidFrameError:
        shown = self.name[:80]
        return InvalidFrameError(f"column {shown!r}: {what}", {"column": shown})


def encode_columns(columns: dict[str, Any], rows: int, codecs: dict[str, ColumnCodec]) -> v1.Frame:
    """Returns the frame of *columns*, those declared first and in the signature's order.

    Args:
        columns: lists of values by name.
        rows: how many each has.
        codecs: of the declared columns, in their order; empty: nothing is declared, types follow from the values.

    Raises:
        InvalidFrameError: a column does not fit; names it.
    """
    if not codecs:
        frame = encode_frame(columns)
        frame.rows = rows
        return frame
    encoded = [codec.encode(columns[name]) for name, codec in codecs.items() if name in columns]
    if len(encoded) < len(columns):
        # one, of whatever type: the router refuses it by name, and knows a similar one
        unknown = next(name for name in columns if name not in codecs)
        encoded.append(v1.Column(name=unknown, type=_T.DATA_TYPE_BOOL, values=bytes(rows)))
    return v1.Frame(rows=rows, columns=encoded)


def _mapped(values: Sequence[Any], change: Callable[[Any], Any]) -> list[Any]:
    return [_mapped(value, change) if type(value) is list else change(value) for value in values]


def _give_shape(column: v1.Column, shape: Sequence[int]) -> None:
    """Gives a column that is missing in every row, and so shows no shape, the declared one."""
    each = math.prod(shape)
    column.shape.extend(shape)
    column.values *= each
    for elements in (column.strings, column.blobs):
        elements[:] = [*elements] * each


def json_values(column: v1.Column, values: list[Any]) -> list[Any]:
    """Returns *values* as JSON may hold them: what is not finite as text, BYTES as base64."""
    if column.type in _FLOATS:
        return _mapped(values, _finite)
    if column.type == _T.DATA_TYPE_BYTES:
        return _mapped(values, _base64)
    return values


def _finite(value: Any) -> Any:
    if value is None or math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 # NaN alone


def _base64(value: Any) -> Any:
    return value if value is None else base64.b64encode(value).decode("ascii")
