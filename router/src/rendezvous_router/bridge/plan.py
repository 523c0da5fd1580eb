"""A mapping made ready: what is done to each table on its way to a model and back."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from rendezvous_proto import v1

from rendezvous_router.bridge.far import FarColumn, FarInfo
from rendezvous_router.bridge.mapping import MappingSpec
from rendezvous_router.bridge.plan_inputs import InputStep, plan_inputs, used_columns
from rendezvous_router.bridge.plan_outputs import OutputStep, plan_outputs

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done to each table. May be used by several threads."""

    signature: v1.Signature
    """Columns that are taken from the endpoint and given to it, as far as they are known."""
    wanted: Sequence[str]
    """Names of the model's outputs to ask for; empty: whatever it gives."""
    inputs: Sequence[InputStep]
    """How each of the model's tensors is made; empty: each column goes by its name."""
    outputs: Sequence[OutputStep]
    """How each of the endpoint's columns is made; empty: the answer comes as it is."""
    default_input: InputStep
    """How a column goes that no step names."""
    default_output: OutputStep
    """How a tensor comes that no step names."""

    def to_far(self, frame: v1.Frame) -> v1.Frame:
        """Returns the table as the model takes it.

        Raises:
            SignatureMismatchError: a column is absent, or has values that the model cannot be given.
        """
        columns = {column.name: column for column in frame.columns}
        steps = self.inputs or [self.default_input.named(name) for name in columns]
        return _remade(frame, [step.make(columns, frame.rows) for step in steps])

    def from_far(self, frame: v1.Frame) -> v1.Frame:
        """Returns the model's answer in the endpoint's columns.

        Raises:
            InvalidOutputError: a column is absent, or cannot be what it has to be.
        """
        columns = {column.name: column for column in frame.columns}
        steps = self.outputs or [self.default_output.named(name) for name in columns]
        return _remade(frame, [step.make(columns, frame.rows) for step in steps])


def _remade(frame: v1.Frame, columns: Sequence[v1.Column]) -> v1.Frame:
    """Spares the copy where every column is what it was."""
    if len(columns) == len(frame.columns) and all(map(operator.is_, columns, frame.columns)):
        return frame
    return v1.Frame(rows=frame.rows, columns=columns)


def make_plan(mapping: MappingSpec, far: FarInfo, endpoint: v1.Signature) -> Plan:
    """Returns what is done to each table.

    Args:
        mapping: what was asked for.
        far: what the model says of itself.
        endpoint: the endpoint's own columns; empty: not declared.

    Raises:
        BridgeError: they do not fit; names the column, and what would.
    """
    inputs = plan_inputs(mapping, far, endpoint.inputs)
    outputs = plan_outputs(mapping, far, endpoint.outputs)
    return Plan(
        signature=v1.Signature(
            inputs=_signature_inputs(inputs, far, endpoint.inputs),
            outputs=endpoint.outputs or _specs(far.outputs if not mapping.outputs else ()),
        ),
        # A server that gives some outputs on demand only is told which; where nobody said, it chooses.
        wanted=list(dict.fromkeys(step.tensor for step in outputs)) if mapping.outputs else (),
        inputs=inputs,
        outputs=outputs,
        default_input=InputStep(name="", sources=(), allow_missing=far.carries_missing, missing=mapping.missing),
        default_output=OutputStep(name="", tensor="", is_bytes_text=not far.tells_text),
    )


def _signature_inputs(
    steps: Sequence[InputStep], far: FarInfo, endpoint: Sequence[v1.ColumnSpec]
) -> Sequence[v1.ColumnSpec]:
    """Returns the endpoint's columns that are used; of an endpoint that declares none, the model's own."""
    if endpoint:
        used = used_columns(steps)
        return [spec for spec in endpoint if not used or spec.name in used]
    is_renamed = any(step.is_pack or step.sources != (step.name,) for step in steps)
    return [] if is_renamed else _specs(far.inputs)


def _specs(tensors: Sequence[FarColumn]) -> list[v1.ColumnSpec]:
    """Returns what a model declares as a signature; nothing if a part of it is open."""
    if any(not tensor.type or tensor.shape is None or min(tensor.shape, default=0) < 0 for tensor in tensors):
        return []
    return [
        v1.ColumnSpec(
            name=tensor.name,
            type=v1.DataType.Name(tensor.type),
            shape=tensor.shape,
            allow_missing=tensor.allow_missing,
            allow_nan=tensor.allow_nan,
        )
        for tensor in tensors
    ]
