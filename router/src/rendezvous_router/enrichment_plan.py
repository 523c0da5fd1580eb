"""The enrichers of an endpoint, compiled: who is asked in which stage, for how long, and what stands in for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from rendezvous.enrichers import SHARE_OF_DEADLINE, default_values
from rendezvous.spec import ColumnSpec as ColumnSpecText
from rendezvous.spec import EndpointSpec, EnricherSpec
from rendezvous_proto.frames import column_width, encode_frame, put_beside
from rendezvous_proto.v1 import Column, ColumnSpec, DataType, Frame, Signature

from rendezvous_router.checker import FrameChecker

MAX_HASTE = 4
"""The greatest haste: whoever has less than an eighth of the time from which on budgets are cut."""
_TEXT_BYTES = 32
"""What a text or some bytes of an enricher are taken to need, for the size of parcels."""
NOTE_BYTES = 24
"""What the note that an enricher was asked takes in a parcel at most, beside its name and its version or the reason."""
NOTED_BYTES = 24
"""What a version or a reason is taken to need in it."""


@dataclass(frozen=True, slots=True)
class Enricher:
    """One enricher, ready for work."""

    name: str
    """Its name."""
    budget_s: float
    """Time that it has, seconds."""
    outputs: FrameChecker
    """Accepts its frames."""
    columns: Sequence[ColumnSpec]
    """Its columns."""
    default: Frame | None
    """One row that stands in for them; None: its failure is the request's."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Enrichers that are asked at the same time."""

    number: int
    """1 for the first."""
    enrichers: Mapping[str, Enricher]
    """By name."""
    needs: frozenset[str] | None
    """Columns that one of them needs; None: all."""


@dataclass(frozen=True, slots=True)
class EnrichmentPlan:
    """The enrichers of one revision of an endpoint."""

    stages: Sequence[Stage]
    """In their order, at least one."""
    total_s: float
    """What all stages may take, seconds."""
    row_bytes: int
    """About what they add to a row."""
    item_bytes: int
    """About what they add to a request beside it."""

    def haste(self, left_s: float) -> int:
        """Returns how often *left_s* must be doubled until no budget is cut.

        Returns:
            0: budgets are not cut; then 1 for the next half, and so on to `MAX_HASTE`.
        """
        share_s = SHARE_OF_DEADLINE * left_s
        return next((haste for haste in range(MAX_HASTE) if share_s * 2**haste >= self.total_s), MAX_HASTE)

    def has(self, name: str) -> bool:
        """Returns whether *name* is one of the enrichers."""
        return any(name in stage.enrichers for stage in self.stages)


def compile_enrichment(spec: EndpointSpec) -> EnrichmentPlan | None:
    """Returns the plan of *spec*; None where it has no enrichers."""
    stages = [
        Stage(
            number,
            {name: _compile_enricher(name, enricher) for name, enricher in enrichers.items()},
            _needs_of(list(enrichers.values())),
        )
        for number, enrichers in enumerate(spec.enrichment_stages(), start=1)
    ]
    if not stages:
        return None
    columns = [column for stage in stages for each in stage.enrichers.values() for column in each.columns]
    return EnrichmentPlan(
        stages,
        sum(max(each.budget_s for each in stage.enrichers.values()) for stage in stages),
        sum((column_width(column.type) or _TEXT_BYTES) * prod(column.shape) for column in columns),
        sum(len(name) + NOTE_BYTES + NOTED_BYTES for stage in stages for name in stage.enrichers),
    )


def make_column(column: ColumnSpecText) -> ColumnSpec:
    """Returns a column of a specification as signatures have it."""
    return ColumnSpec(
        name=column.name,
        type=DataType.Name(DataType.Value(f"DATA_TYPE_{column.type}")),
        shape=column.shape,
        allow_missing=column.missing,
        allow_nan=column.nan,
        description=column.description,
    )


def signature_of(spec: EndpointSpec, name: str) -> Signature:
    """Returns the columns that model or enricher *name* of an endpoint sees, and those that it gives.

    One that the specification does not name is taken to be a model that is still to be added.
    """
    enricher = spec.enrichers.get(name)
    if enricher is None:
        seen, given = spec.model_inputs(), spec.outputs
    else:
        before = [each for stage in spec.enrichment_stages()[: enricher.stage - 1] for each in stage.values()]
        seen, given = [*spec.inputs, *(column for each in before for column in each.outputs)], enricher.outputs
    return Signature(inputs=map(make_column, seen), outputs=map(make_column, given))


def _compile_enricher(name: str, enricher: EnricherSpec) -> Enricher:
    columns = [make_column(column) for column in enricher.outputs]
    values = default_values(enricher)
    default = None if values is None else put_beside([_one_row(column, values[column.name]) for column in columns])
    checker = FrameChecker(columns, what=f"outputs of enricher {name}")
    return Enricher(name, enricher.budget_s, checker, columns, default)


def _one_row(column: ColumnSpec, value: object) -> Frame:
    if value is not None:
        return encode_frame({column.name: [value]}, types={column.name: column.type})
    elements = prod(column.shape)
    empty = Column(name=column.name, type=column.type, shape=column.shape, missing=b"\x01")
    if width := column_width(column.type):
        empty.values = bytes(width * elements)
    elif column.type == DataType.DATA_TYPE_STRING:
        empty.strings.extend([""] * elements)
    else:
        empty.blobs.extend([b""] * elements)
    return Frame(rows=1, columns=[empty])


def _needs_of(enrichers: Sequence[EnricherSpec]) -> frozenset[str] | None:
    """Returns the columns that one of them needs; None where one needs all."""
    if any(enricher.inputs is None for enricher in enrichers):
        return None
    return frozenset(name for enricher in enrichers for name in enricher.inputs or ())
