"""Columns from pandas Series, and frames as DataFrames."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rendezvous_proto import v1
from rendezvous_proto.frames._arrays import column_of_array, refuse_column
from rendezvous_proto.frames._lists import column_of_list

if TYPE_CHECKING:
    from rendezvous_proto.frames._view import FrameView


def column_of_series(name: str, series: "pd.Series[Any]", kind: int | None) -> tuple[v1.Column, int]:
    """Returns a column and its rows, of a Series (or Index) of any dtype that has a type here.

    Raises:
        InvalidFrameError: If the dtype has none (timedelta, period, interval, ...) or does not fit *kind*.
    """
    dtype: Any = series.dtype
    if isinstance(dtype, np.dtype):
        return column_of_array(name, series.to_numpy(), kind)
    if isinstance(dtype, pd.CategoricalDtype):
        labels = [*dtype.categories.tolist(), None]  # code -1 means missing
        return column_of_list(name, [labels[code] for code in series.cat.codes.tolist()], kind)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return column_of_array(name, series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), kind)
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa  # noqa: PLC0415 - the dtype shows that it is installed

        from rendezvous_proto.frames._arrow import column_of_arrow  # noqa: PLC0415 - the same

        return column_of_arrow(name, pa.array(series.array), kind)
    mask = series.isna().to_numpy(dtype=np.bool_)
    if isinstance(dtype, pd.StringDtype):
        texts = series.tolist()
        return column_of_list(name, [None if gone else t for t, gone in zip(texts, mask, strict=True)], kind)
    if (plain := getattr(dtype, "numpy_dtype", None)) is not None:
        return column_of_array(name, series.to_numpy(dtype=plain, na_value=plain.type(0)), kind, mask)
    return refuse_column(name, f"pandas dtype {dtype} has no type in a frame: convert it with `astype`", dtype=dtype)


def to_pandas(view: "FrameView") -> pd.DataFrame:
    """Returns the frame as a DataFrame.

    Scalars without missing rows keep their NumPy dtype; with missing rows they get the nullable dtype of the same
    width (Int64, boolean, Float64, ...; FP16 becomes Float32), so that missing and NaN stay apart
    (unless pandas is set to read NaN in nullable columns as missing, its default since version 3).
    STRING and BYTES become dtype object with None; shaped columns dtype object with one array (or None) a row.
    """
    columns: dict[str, Any] = {name: _series(view, name) for name in view.names}
    return pd.DataFrame(columns, index=pd.RangeIndex(view.rows))


def _series(view: "FrameView", name: str) -> Any:
    array, mask = view[name], view.missing(name)
    if array.ndim > 1:
        rows = np.empty(view.rows, dtype=object)
        for row in range(view.rows):
            rows[row] = None if mask is not None and mask[row] else array[row]
        return pd.Series(rows, dtype=object)
    if array.dtype.kind == "O":
        return pd.Series(array, dtype=object)
    if mask is None:
        return array
    match array.dtype.kind:
        case "b":
            return pd.arrays.BooleanArray(array.copy(), mask)
        case "f":
            wide = array.astype(np.float32) if array.dtype.itemsize == 2 else array.copy()
            return pd.arrays.FloatingArray(wide, mask)
        case _:
            return pd.arrays.IntegerArray(array.copy(), mask)
