"""How the columns that an endpoint expects are made of what a model gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, InvalidOutputError
from rendezvous_proto.frames import type_number

from rendezvous_router.bridge.columns import (
    BYTES,
    STRING,
    TEXTS,
    ColumnError,
    converted,
    fits_shape,
    picked,
    shape_text,
)
from rendezvous_router.bridge.errors import BridgeError
from rendezvous_router.bridge.far import FarColumn, FarInfo
from rendezvous_router.bridge.mapping import ColumnSource, MappingSpec
from rendezvous_router.bridge.plan_inputs import near

__all__ = ["OutputStep", "plan_outputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStep:
    """How one column is made of one tensor, or of one position in it."""

    name: str
    """The column's name."""
    tensor: str
    """The tensor's name."""
    index: int | None = None
    """Position in each row of the tensor; None: the whole row."""
    type: int = 0
    """Number of the column's type; 0: the tensor's own."""
    shape: tuple[int, ...] | None = None
    """Shape of one row's value; None: the tensor's own."""
    is_bytes_text: bool = False
    """Whether bytes become text where no type is named."""

    def named(self, name: str) -> Self:
        """Returns the same step for one tensor that keeps its name."""
        return replace(self, name=name, tensor=name)

    def make(self, columns: Mapping[str, v1.Column], rows: int) -> v1.Column:
        """Returns the column.

        Raises:
            InvalidOutputError: the tensor is absent, or cannot be what the column has to be.
        """
        column = columns.get(self.tensor)
        if column is None:
            raise _invalid(self.tensor, f"is absent{near(self.tensor, columns)}")
        try:
            if self.index is not None:
                column = picked(column, rows, self.index)
            kind = self.type or (STRING if self.is_bytes_text and column.type == BYTES else 0)
            return converted(column, rows, name=self.name, kind=kind, shape=self.shape)
        except (ColumnError, InvalidFrameError) as error:
            raise _invalid(self.tensor, f"cannot become column {self.name!r}: {error}") from error


def plan_outputs(mapping: MappingSpec, far: FarInfo, endpoint: Sequence[v1.ColumnSpec]) -> list[OutputStep]:
    """Returns the steps, one for each column; none where nobody declares any.

    Raises:
        BridgeError: they do not fit; names column and tensor.
    """
    declared = {tensor.name: tensor for tensor in far.outputs}
    columns = {column.name: column for column in endpoint}
    unknown = next((name for name in mapping.outputs if columns and name not in columns), None)
    if unknown is not None:
        raise BridgeError(f"mapping: outputs.{unknown}: the endpoint has no such column{near(unknown, columns)}")
    names = list(columns) or list(mapping.outputs) or list(declared)
    steps = []
    for name in names:
        source = mapping.outputs.get(name, ColumnSource())
        step = _step(name, source, columns.get(name), far)
        if declared:
            _check_step(step, declared, is_mapped=name in mapping.outputs)
        steps.append(step)
    return steps


def _step(name: str, source: ColumnSource, column: v1.ColumnSpec | None, far: FarInfo) -> OutputStep:
    asked = type_number(source.type) if source.type else 0
    kind = asked or (column.type if column is not None else 0)
    if asked and column is not None and asked != column.type:
        raise BridgeError(
            f"mapping: outputs.{name}: type {source.type} is asked for, "
            f"the endpoint declares {shape_text(column.type, column.shape)}"
        )
    return OutputStep(
        name=name,
        tensor=source.tensor or name,
        index=source.index,
        type=kind,
        shape=tuple(column.shape) if column is not None else None,
        is_bytes_text=not far.tells_text,
    )


def _check_step(step: OutputStep, declared: Mapping[str, FarColumn], *, is_mapped: bool) -> None:
    """Finds at start what would fail with each answer."""
    tensor = declared.get(step.tensor)
    if tensor is None:
        hint = "" if is_mapped else f", or say what it is taken from: --outputs '{step.name}={next(iter(declared))}'"
        raise BridgeError(
            f"column {step.name!r} is to be taken from {step.tensor!r}, "
            f"which the model does not give{near(step.tensor, declared)}{hint}"
        )
    given = shape_text(tensor.type, tensor.shape)
    if step.type and tensor.type and (step.type in TEXTS) != (tensor.type in TEXTS):
        raise BridgeError(
            f"column {step.name!r} is {shape_text(step.type, step.shape)}, the model gives {step.tensor!r} as {given}"
        )
    if tensor.shape is None:
        return
    if step.index is not None:
        if len(tensor.shape) != 1 or 0 <= tensor.shape[0] <= step.index:
            raise BridgeError(f"mapping: outputs.{step.name}: {step.tensor!r} is {given} a row, it has no {step.index}")
        return
    if step.shape is not None and not _may_fit(tensor.shape, step.shape):
        example = f"--outputs '{step.name}={step.tensor}[0]'" if not step.shape else "a mapping"
        raise BridgeError(
            f"column {step.name!r} is {shape_text(step.type, step.shape)}, the model gives {step.tensor!r} as {given} "
            f"a row: its shape does not fit; pick an element with {example}"
        )


def _may_fit(given: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a shape with dimensions of any size can turn out to be the wanted one."""
    return fits_shape(wanted, given) is not None


def _invalid(tensor: str, fault: str) -> InvalidOutputError:
    return InvalidOutputError(f"output of the model: {tensor!r} {fault}", {"column": tensor})
