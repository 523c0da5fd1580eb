"""How the tensors that a model takes are made of an endpoint's columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Self

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, SignatureMismatchError
from rendezvous_proto.frames import type_number

from rendezvous_router.bridge.columns import (
    TEXTS,
    ColumnError,
    Value,
    check_value,
    converted,
    fill_missing,
    fits_shape,
    packed,
    shape_text,
)
from rendezvous_router.bridge.errors import BridgeError
from rendezvous_router.bridge.far import FarColumn, FarInfo
from rendezvous_router.bridge.mapping import MappingSpec, TensorSource

__all__ = ["InputStep", "near", "plan_inputs", "used_columns"]

_WHAT = "input of the model"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputStep:
    """How one tensor is made of one column, or of several that are packed."""

    name: str
    """The tensor's name."""
    sources: Sequence[str]
    """The endpoint's columns."""
    is_pack: bool = False
    """Whether they are put side by side."""
    type: int = 0
    """Number of the tensor's type; 0: the columns' own."""
    shape: tuple[int, ...] | None = None
    """Shape of one row's value; None: the column's own."""
    allow_missing: bool = False
    """Whether missing rows can be sent."""
    missing: Mapping[str, Value] = field(default_factory=dict)
    """What stands for missing values, by column."""

    def named(self, name: str) -> Self:
        """Returns the same step for one column that keeps its name."""
        return replace(self, name=name, sources=(name,))

    def make(self, columns: Mapping[str, v1.Column], rows: int) -> v1.Column:
        """Returns the tensor.

        Raises:
            SignatureMismatchError: a column is absent, has missing rows that cannot be sent, or does not fit.
        """
        found = [self._source(name, columns, rows) for name in self.sources]
        try:
            if self.is_pack:
                return packed(self.name, found, rows, self.type)
            return converted(found[0], rows, name=self.name, kind=self.type, shape=self.shape)
        except (ColumnError, InvalidFrameError) as error:
            raise _mismatch(", ".join(self.sources), str(error)) from error

    def _source(self, name: str, columns: Mapping[str, v1.Column], rows: int) -> v1.Column:
        column = columns.get(name)
        if column is None:
            raise _mismatch(name, f"is absent{near(name, columns)}")
        if not column.missing.strip(b"\0"):
            return column
        default = self.missing.get(name)
        if default is not None:
            try:
                return fill_missing(column, rows, default)
            except ColumnError as error:
                raise _mismatch(name, str(error)) from error
        if not self.allow_missing or self.is_pack:
            row = next(row for row in range(rows) if column.missing[row // 8] >> row % 8 & 1)
            raise _mismatch(
                name,
                f"is missing in row {row}, and the model server cannot be given missing values: "
                f"say what stands for them in the mapping, as in missing: {{{name}: 0}}",
            )
        return column


def plan_inputs(mapping: MappingSpec, far: FarInfo, endpoint: Sequence[v1.ColumnSpec]) -> list[InputStep]:
    """Returns the steps, one for each of the model's tensors; none where neither it nor the mapping names any.

    Raises:
        BridgeError: they do not fit; names tensor and column.
    """
    declared = {tensor.name: tensor for tensor in far.inputs}
    unknown = next((name for name in mapping.inputs if declared and name not in declared), None)
    if unknown is not None:
        raise BridgeError(f"mapping: the model takes no {unknown!r}{near(unknown, declared)}")
    names = list(declared) if declared else list(mapping.inputs)
    columns = {column.name: column for column in endpoint}
    steps = []
    for name in names:
        source = mapping.inputs.get(name, TensorSource())
        step = _step(name, source, declared.get(name), mapping, far)
        if columns:
            _check_step(step, columns, is_mapped=name in mapping.inputs)
        steps.append(step)
    used = used_columns(steps) or list(columns)
    stray = next((name for name in mapping.missing if used and name not in used), None)
    if stray is not None:
        raise BridgeError(f"mapping: missing.{stray}: the model is given no such column{near(stray, used)}")
    return steps


def used_columns(steps: Sequence[InputStep]) -> list[str]:
    """Returns the endpoint's columns that the steps read, each once."""
    return list(dict.fromkeys(name for step in steps for name in step.sources))


def near(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """End of a message: the nearest known name, or all of them."""
    found = get_close_matches(name, list(known), n=1)
    if found:
        return f"; did you mean {found[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""


def _step(name: str, source: TensorSource, declared: FarColumn | None, mapping: MappingSpec, far: FarInfo) -> InputStep:
    shape = declared.shape if declared is not None else None
    asked = type_number(source.datatype) if source.datatype else 0
    kind = declared.type if declared is not None else 0
    if asked and kind and asked != kind:
        raise BridgeError(
            f"mapping: inputs.{name}: datatype {source.datatype} is asked for, "
            f"the model declares {shape_text(kind, shape)}"
        )
    if source.pack is not None and shape is not None and fits_shape((len(source.pack),), shape) is None:
        raise BridgeError(
            f"mapping: inputs.{name}: {len(source.pack)} columns are packed, "
            f"the model declares {shape_text(kind, shape)} a row"
        )
    return InputStep(
        name=name,
        sources=tuple(source.pack or (source.column or name,)),
        is_pack=source.is_pack,
        type=asked or kind,
        shape=shape,
        allow_missing=far.carries_missing and (declared is None or declared.allow_missing),
        missing=mapping.missing,
    )


def _check_step(step: InputStep, columns: Mapping[str, v1.ColumnSpec], *, is_mapped: bool) -> None:
    """Finds at start what would fail with each request."""
    absent = next((name for name in step.sources if name not in columns), None)
    wanted = shape_text(step.type, step.shape)
    if absent is not None:
        hint = "" if is_mapped else f", or say what it is made of: {_example(step, columns)}"
        raise BridgeError(
            f"the model takes {step.name!r} ({wanted}) of column {absent!r}, "
            f"which the endpoint does not have{near(absent, columns)}{hint}"
        )
    for name in step.sources:
        spec = columns[name]
        if step.type and (spec.type in TEXTS) != (step.type in TEXTS):
            raise BridgeError(
                f"column {name!r} is {shape_text(spec.type, spec.shape)}, the model takes {step.name!r} as {wanted}"
            )
        target = () if step.is_pack else step.shape
        if fits_shape(spec.shape, target) is None:
            raise BridgeError(
                f"column {name!r} is {shape_text(spec.type, spec.shape)}, "
                f"the model takes {step.name!r} as {wanted}: its shape does not fit"
            )
        _check_default(name, spec, step.missing)


def _check_default(name: str, spec: v1.ColumnSpec, missing: Mapping[str, Value]) -> None:
    if name in missing:
        try:
            check_value(spec.type, missing[name])
        except ColumnError as error:
            raise BridgeError(f"mapping: missing.{name}: {error}") from error


def _example(step: InputStep, columns: Mapping[str, v1.ColumnSpec]) -> str:
    """A mapping that would fit, for the message."""
    size = step.shape[0] if step.shape is not None and len(step.shape) == 1 else 1
    scalars = [name for name, spec in columns.items() if not spec.shape and spec.type not in TEXTS]
    if size > 1 or (size < 0 and scalars):
        chosen = ",".join(scalars[: size if size > 0 else None])
        return f"--inputs '{step.name}=[{chosen}]'"
    return f"--inputs '{step.name}={next(iter(columns), 'column')}'"


def _mismatch(column: str, fault: str) -> SignatureMismatchError:
    return SignatureMismatchError(f"{_WHAT}: column {column!r} {fault}", {"what": _WHAT, "column": column})
