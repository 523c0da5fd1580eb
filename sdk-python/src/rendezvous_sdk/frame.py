"""What a model gets and what it gives: a frame in the shape that the author asks for, and any table back."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, InvalidOutputError, SignatureMismatchError
from rendezvous_proto.frames import FrameView, encode_frame
from rendezvous_proto.signatures import check_signature

__all__ = ["FrameView", "Takes", "encode_frame", "encode_output", "present", "select_inputs"]

Takes = Literal["columns", "pandas", "records", "arrow", "frame"]
TAKES: tuple[Takes, ...] = get_args(Takes)


def present(view: FrameView, takes: Takes) -> Any:
    """Returns the frame as its author asked for it.

    Args:
        view: the input.
        takes: `columns`: dict of name to array of shape (rows, *shape), where missing floats are NaN,
            missing text is None, and an integer or BOOL column with missing rows becomes float64 with NaN;
            `pandas`: DataFrame;
            `records`: list of dicts, one a row, None where missing; `arrow`: pyarrow Table; `frame`: the
            view.

    Raises:
        ImportError: pandas or pyarrow is asked for and not installed; names the extra.
    """
    if takes == "columns":
        return {name: _filled(view, name) for name in view.names}
    if takes == "pandas":
        return view.to_pandas()
    if takes == "records":
        return view.to_records()
    return view.to_arrow() if takes == "arrow" else view


def _filled(view: FrameView, name: str) -> NDArray[Any]:
    array = view[name]
    missing = view.missing(name)
    if missing is None or array.dtype.kind == "O":
        return array
    filled = array.astype(array.dtype if array.dtype.kind == "f" else np.float64)
    filled[missing] = np.nan
    return filled


def select_inputs(frame: v1.Frame, inputs: Sequence[v1.ColumnSpec]) -> v1.Frame:
    """Returns the declared columns of a sound frame, in the declared order; others are left out.

    Returns:
        The same object if the frame has exactly these columns in this order.

    Raises:
        SignatureMismatchError: a declared column is not there, or is not as declared.
    """
    if not inputs:
        return frame
    if [column.name for column in frame.columns] == [spec.name for spec in inputs]:
        check_signature(frame, inputs, what="input of the model")
        return frame
    columns = {column.name: column for column in frame.columns}
    chosen = [columns[spec.name] for spec in inputs if spec.name in columns]
    selected = v1.Frame(rows=frame.rows, columns=chosen)
    check_signature(selected, inputs, what="input of the model")
    return selected


def encode_output(output: object, outputs: Sequence[v1.ColumnSpec], rows: int) -> v1.Frame:
    """Returns what a model gave as a frame.

    Args:
        output: mapping of name to values, DataFrame, Arrow table, list of dicts, `v1.Frame`; or an array or
            list of shape (rows,) or (rows, outputs), whose columns get the declared names.
        outputs: declared columns; a type of 0 means that only the name is declared. Empty: nothing is
            declared.
        rows: rows that were given to the model.

    Raises:
        InvalidOutputError: another number of rows, unequal columns, undeclared or missing columns, values
        that the
            declared type cannot hold, something that is not a table.
    """
    try:
        frame = _to_frame(output, outputs, rows)
    except (InvalidFrameError, TypeError, ValueError) as error:
        raise InvalidOutputError(f"the model's output is not a table: {error}") from error
    if not isinstance(output, v1.Frame):
        _shape_missing(frame, outputs)
    if not frame.columns:
        raise InvalidOutputError("the model gave no columns: it must give at least one")
    if frame.rows != rows:
        raise InvalidOutputError(
            f"the model gave {frame.rows} rows for {rows}: it must give one for each",
            {"expected": rows, "actual": frame.rows},
        )
    return _check_declared(frame, outputs)


def _check_declared(frame: v1.Frame, outputs: Sequence[v1.ColumnSpec]) -> v1.Frame:
    if not outputs:
        return frame
    specs = outputs
    if any(not spec.type for spec in outputs):
        actual = {column.name: column for column in frame.columns}
        specs = [_completed(spec, actual.get(spec.name)) for spec in outputs]
    try:
        check_signature(frame, specs, what="output of the model")
    except SignatureMismatchError as error:
        raise InvalidOutputError(error.message, error.attributes) from error
    return frame


def _shape_missing(frame: v1.Frame, outputs: Sequence[v1.ColumnSpec]) -> None:
    """Gives columns that are missing in every row, and so show no shape, their declared one."""
    shapes = {spec.name: tuple(spec.shape) for spec in outputs if spec.shape}
    for column in frame.columns:
        shape = shapes.get(column.name)
        if shape is None or column.shape or int.from_bytes(column.missing).bit_count() != frame.rows:
            continue
        each = math.prod(shape)
        column.shape.extend(shape)
        column.values *= each
        for elements in (column.strings, column.blobs):
            elements[:] = [*elements] * each


def _completed(spec: v1.ColumnSpec, column: v1.Column | None) -> v1.ColumnSpec:
    """Where only the name was declared, whatever was given is right."""
    if spec.type:
        return spec
    return v1.ColumnSpec(
        name=spec.name,
        type=column.type if column is not None else v1.DataType.DATA_TYPE_FP64,
        shape=column.shape if column is not None else (),
        allow_missing=True,
        allow_nan=True,
    )


def _to_frame(output: object, outputs: Sequence[v1.ColumnSpec], rows: int) -> v1.Frame:
    if isinstance(output, v1.Frame):
        return FrameView(output).frame
    types = {spec.name: spec.type for spec in outputs if spec.type}
    if isinstance(output, Mapping):
        return encode_frame(_sized_columns(output, rows), types=_known(types, output))
    if _is_table(output):
        return encode_frame(output, types=_known(types, _column_names(output)))
    if isinstance(output, list) and output and isinstance(output[0], Mapping):
        return encode_frame(output, types=_known(types, output[0]))
    columns = _named_columns(np.asarray(output), [spec.name for spec in outputs], rows)
    return encode_frame(columns, types=types)


def _known(types: Mapping[str, Any], names: Any) -> dict[str, Any]:
    return {name: kind for name, kind in types.items() if name in names}


def _sized_columns(columns: Mapping[Any, Any], rows: int) -> dict[str, Any]:
    for name, values in columns.items():
        if not isinstance(name, str):
            raise InvalidOutputError(f"the output column {name!r} is not named by text")
        count = len(values) if hasattr(values, "__len__") and not isinstance(values, str) else None
        if count != rows:
            found = "a single value" if count is None else f"{count} values"
            raise InvalidOutputError(
                f"output column {name!r} has {found} for {rows} rows: it must have one for each",
                {"column": name, "expected": rows, "actual": -1 if count is None else count},
            )
    return dict(columns)


def _named_columns(array: NDArray[Any], names: Sequence[str], rows: int) -> dict[str, NDArray[Any]]:
    if not names:
        raise InvalidOutputError(
            f"the model gave an array of shape {array.shape} and declares no output names: "
            'declare them, as in @model(outputs=["probability"]), or give a dict'
        )
    if array.ndim == 0 or array.shape[0] != rows:
        raise InvalidOutputError(
            f"the model gave an array of shape {array.shape} for {rows} rows: "
            f"it must be ({rows},) or ({rows}, {len(names)})",
            {"expected": rows, "actual": array.shape[0] if array.ndim else 0},
        )
    if len(names) == 1:
        return {names[0]: array[:, 0] if array.shape[1:] == (1,) else array}
    if array.ndim != 2 or array.shape[1] != len(names):
        raise InvalidOutputError(
            f"the model gave an array of shape {array.shape} and declares {len(names)} outputs "
            f"({', '.join(names)}): it must be ({rows}, {len(names)})"
        )
    return {name: array[:, index] for index, name in enumerate(names)}


def _is_table(output: object) -> bool:
    """Asks without importing pandas or pyarrow: what is not imported cannot have made the output."""
    pandas, pyarrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    return bool(
        (pandas is not None and isinstance(output, pandas.DataFrame))
        or (pyarrow is not None and isinstance(output, pyarrow.Table))
    )


def _column_names(table: Any) -> list[str]:
    return list(table.column_names if hasattr(table, "column_names") else table.columns)
