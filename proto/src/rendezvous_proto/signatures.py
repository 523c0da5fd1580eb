"""Checks frames against signatures. Source: docs/protocol.md, section "Signatures"."""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from rendezvous_proto import v1
from rendezvous_proto.errors import SignatureMismatchError
from rendezvous_proto.frames import type_name
from rendezvous_proto.frames._bits import unpack_bits
from rendezvous_proto.frames._types import DTYPES, FLOATS
from rendezvous_proto.nearest import nearest_name

__all__ = ["check_signature", "conform_frame"]


def check_signature(frame: v1.Frame, columns: Sequence[v1.ColumnSpec], *, what: str) -> None:
    """Checks that a sound frame has exactly the columns of a signature, in any order.

    Args:
        frame: The frame; must have passed `check_frame`.
        columns: The signature's columns. Empty: nothing is declared, anything is taken.
        what: What is checked, for the message: `inputs of endpoint credit`.

    Raises:
        SignatureMismatchError: If a column is absent, unknown, of another type or shape; has missing rows or NaN
            (or an infinite element) where the signature does not allow them. Attributes `column`, `what`, and
            where they apply `expected`, `actual`, `nearest`, `row`.
    """
    if not columns:
        return
    specs = {spec.name: spec for spec in columns}
    found = set()
    for column in frame.columns:
        name = column.name
        spec = specs.get(name)
        if spec is None:
            _refuse_unknown(name, list(specs), what)
        found.add(name)
        if column.type != spec.type:
            _refuse(what, name, "has another type", type_name(spec.type), type_name(column.type))
        if column.shape != spec.shape:
            _refuse(what, name, "has another shape", list(spec.shape), list(column.shape))
        if not spec.allow_missing and (missing := column.missing) and missing.strip(b"\0"):
            _refuse_missing(what, name, missing)
        if spec.type in FLOATS and not spec.allow_nan:
            _check_finite(what, column, frame.rows)
    if len(found) != len(specs):
        _refuse_absent(specs, found, [column.name for column in frame.columns], what)


def conform_frame(frame: v1.Frame, columns: Sequence[v1.ColumnSpec]) -> v1.Frame:
    """Returns the frame with its columns in the signature's order; the same object if they are.

    Args:
        frame: A frame that has passed `check_signature`.
        columns: The signature's columns. Empty: the frame is returned as it is.
    """
    names = [column.name for column in frame.columns]
    order = [spec.name for spec in columns]
    if not order or names == order:
        return frame
    by_name = {column.name: column for column in frame.columns}
    return v1.Frame(rows=frame.rows, columns=[by_name[name] for name in order])


def _check_finite(what: str, column: v1.Column, rows: int) -> None:
    if not column.values:
        return
    elements = np.frombuffer(column.values, dtype=DTYPES[column.type]).reshape(rows, -1)
    finite = np.isfinite(elements).all(axis=1)
    if finite.all():
        return
    if column.missing:
        finite |= unpack_bits(column.missing, rows)  # what a missing row holds does not count
        if finite.all():
            return
    row, name = int(finite.argmin()), column.name
    actual = elements[row][~np.isfinite(elements[row])][0]
    raise SignatureMismatchError(
        f"{what}: column {name!r} is {actual} in row {row}: it must be finite here",
        {"what": what, "column": name, "row": row, "actual": actual},
    )


def _refuse_missing(what: str, name: str, missing: bytes) -> NoReturn:
    row = next(i for i in range(len(missing) * 8) if missing[i // 8] >> i % 8 & 1)
    raise SignatureMismatchError(
        f"{what}: column {name!r} is missing in row {row}: missing values are not allowed here",
        {"what": what, "column": name, "row": row},
    )


def _refuse(what: str, name: str, fault: str, expected: object, actual: object) -> NoReturn:
    raise SignatureMismatchError(
        f"{what}: column {name!r} {fault}: expected {expected}, got {actual}",
        {"what": what, "column": name, "expected": expected, "actual": actual},
    )


def _refuse_unknown(name: str, known: Sequence[str], what: str) -> NoReturn:
    nearest = nearest_name(name, known)
    hint = f", did you mean {nearest!r}?" if nearest else f": expected are {', '.join(known)}"
    attributes = {"what": what, "column": name, "expected": ", ".join(known)}
    raise SignatureMismatchError(
        f"{what}: column {name!r} is unknown{hint}", attributes | ({"nearest": nearest} if nearest else {})
    )


def _refuse_absent(specs: dict[str, v1.ColumnSpec], found: set[str], names: Sequence[str], what: str) -> NoReturn:
    name = next(name for name in specs if name not in found)
    expected = f"{type_name(specs[name].type)}{list(specs[name].shape)}"
    raise SignatureMismatchError(
        f"{what}: column {name!r} ({expected}) is absent; there are {', '.join(names) or 'no columns'}",
        {"what": what, "column": name, "expected": expected},
    )
