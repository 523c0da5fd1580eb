"""Reads a frame as NumPy arrays, Python values, a pandas DataFrame or an Arrow table."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rendezvous_proto import v1
from rendezvous_proto.frames._bits import unpack_bits
from rendezvous_proto.frames._check import check_frame
from rendezvous_proto.frames._types import DTYPES, STRING

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class FrameView:
    """A read-only view of a frame, checked on construction.

    Fixed-width columns are views of the message's bytes: nothing is copied element by element.
    Thread safety: may be read from several threads; the frame must not be changed meanwhile.

    Args:
        frame: The frame. The view keeps it.

    Raises:
        InvalidFrameError: If the frame contradicts itself; see `check_frame`.
    """

    __slots__ = ("_columns", "frame", "names", "rows")

    frame: v1.Frame
    """The frame that is viewed."""
    rows: int
    """Number of rows."""
    names: tuple[str, ...]
    """Names of the columns, in their order."""

    def __init__(self, frame: v1.Frame) -> None:
        check_frame(frame)
        self.frame = frame
        self.rows = frame.rows
        self._columns: dict[str, v1.Column] = {column.name: column for column in frame.columns}
        self.names = tuple(self._columns)

    def __len__(self) -> int:
        return self.rows

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Returns one column as an array of shape (rows, *shape).

        Fixed-width types: read-only, not copied; a missing row's elements are 0 (see `missing`).
        STRING and BYTES: dtype object, elements `str` or `bytes`; a missing row's elements are None.

        Raises:
            KeyError: If there is no such column.
        """
        column = self._columns[name]
        shape = (self.rows, *column.shape)
        dtype = DTYPES.get(column.type)
        if dtype is not None:
            return _fixed_width(column.values, dtype, shape)
        array = np.empty(shape, dtype=object)
        array.reshape(-1)[:] = list(column.strings if column.type == STRING else column.blobs)
        mask = self.missing(name)
        if mask is not None:
            array[mask] = None
        return array

    def type(self, name: str) -> int:
        """Returns the number of a column's type; KeyError if there is no such column."""
        return self._columns[name].type

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of one row's value; KeyError if there is no such column."""
        return tuple(self._columns[name].shape)

    def missing(self, name: str) -> NDArray[np.bool_] | None:
        """Returns which rows are missing, shape (rows,); None if none is. KeyError if there is no such column."""
        bitmap = self._columns[name].missing
        return unpack_bits(bitmap, self.rows) if bitmap.strip(b"\0") else None

    def column(self, name: str) -> list[Any]:
        """Returns one column as Python values, one a row: None where missing, nested lists where shaped.

        Raises:
            KeyError: If there is no such column.
        """
        values: list[Any] = self[name].tolist()
        mask = self.missing(name)
        if mask is not None:
            for row in mask.nonzero()[0].tolist():
                values[row] = None
        return values

    def to_dict(self) -> dict[str, list[Any]]:
        """Returns all columns as by `column`, in their order."""
        return {name: self.column(name) for name in self.names}

    def to_records(self) -> list[dict[str, Any]]:
        """Returns one dictionary a row, values as by `column`."""
        if not self.names:
            return [{} for _ in range(self.rows)]
        rows = zip(*self.to_dict().values(), strict=True)
        return [dict(zip(self.names, row, strict=True)) for row in rows]

    def to_pandas(self) -> "pd.DataFrame":
        """Returns a DataFrame; missing rows become `pd.NA` in a nullable dtype. See `_pandas.to_pandas`.

        Raises:
            ImportError: If pandas is not installed (extra `pandas`).
        """
        from rendezvous_proto.frames._pandas import to_pandas  # noqa: PLC0415 - pandas is optional

        return to_pandas(self)

    def to_arrow(self) -> "pa.Table":
        """Returns an Arrow table; missing rows become nulls, shapes nested fixed-size lists.

        Raises:
            ImportError: If pyarrow is not installed (extra `arrow`).
        """
        from rendezvous_proto.frames._arrow import to_arrow  # noqa: PLC0415 - pyarrow is optional

        return to_arrow(self)


def _fixed_width(values: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if values:
        return np.frombuffer(values, dtype=dtype).reshape(shape)
    empty: NDArray[Any] = np.empty(shape, dtype=dtype)
    empty.setflags(write=False)
    return empty
