"""Parcels, decisions and feedback as Arrow tables of the archive's schemas."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from rendezvous_proto import v1
from rendezvous_proto.errors import ErrorCode
from rendezvous_proto.frames import split_frame
from rendezvous_sdk.archive.schema import SignatureColumn, schema_of

from rendezvous_router.archive.columns import (
    Ints,
    deadlines,
    frame_arrays,
    list_array,
    map_array,
    null_if_empty,
    struct_lists,
    timestamps,
    whole_numbers,
)
from rendezvous_router.archive.messages import ColumnsKey, Declared, Taken, columns_key, is_sound

__all__ = ["Rows", "build_table", "decisions_tables", "error_name", "feedback_table", "inputs_tables", "junk_table"]

_ROLES = {number: name.removeprefix("ROLE_").lower() for name, number in v1.Role.items()}
_STATUSES = {number: name.removeprefix("ARRIVAL_STATUS_").lower() for name, number in v1.ArrivalStatus.items()}
_OUTCOMES = {number: name.removeprefix("OUTCOME_KIND_").lower() for name, number in v1.OutcomeKind.items()}


class Rows:
    """Which rows belong to which item: *lengths* rows each, in order."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths: Ints = np.asarray(lengths, np.int64)
        self.total = int(self.lengths.sum())
        self.is_one_each = bool((self.lengths == 1).all())
        self._index = None if self.is_one_each else np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def numbers(self) -> Ints:
        """Number of each row within its item, from 0."""
        if self._index is None:
            return np.zeros(self.total, np.int64)
        return np.arange(self.total) - np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)

    def spread(self, array: pa.Array) -> pa.Array:
        """Returns an array with one value an item as one with one value a row."""
        return array if self._index is None else array.take(pa.array(self._index))

    def first_only(self, array: pa.Array) -> pa.Array:
        """The same, null in every row but an item's first."""
        spread = self.spread(array)
        if self._index is None:
            return spread
        return spread.take(pa.array(np.arange(self.total), mask=self.numbers != 0))


def error_name(code: int) -> str:
    """Returns the name of an error's code; of an unknown one, its number."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(code)


def build_table(
    kind: str, columns: Sequence[SignatureColumn], fixed: dict[str, pa.Array], values: Sequence[pa.Array] | None
) -> pa.Table:
    """Returns a table of a kind's schema.

    Args:
        kind: the kind.
        columns: of the signature.
        fixed: fixed columns by name; those that are not given are null.
        values: arrays of the signature's columns; None: all null.
    """
    schema = schema_of(kind, columns)
    rows = len(next(iter(fixed.values())))
    count = len(schema) - len(columns)
    arrays = [_as_type(fixed.get(each.name), each.type, rows) for each in list(schema)[:count]]
    for index, each in enumerate(list(schema)[count:]):
        arrays.append(pa.nulls(rows, each.type) if values is None else values[index])
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_type(array: pa.Array | None, kind: pa.DataType, rows: int) -> pa.Array:
    if array is None:
        return pa.nulls(rows, kind)
    if array.type.equals(kind):
        return array
    return whole_numbers(array, kind) if pa.types.is_integer(kind) else array.cast(kind, safe=False)


def junk_table(kind: str, messages: Sequence[Taken], declared: Declared) -> pa.Table:
    """Returns messages that are not what their subject promises: one row each, the bytes in `payload`.

    Scores have the model of their subject beside it, and no request id: nothing counts them as scores.
    """
    fixed = {
        "stored_at": timestamps([each.stored_us for each in messages]),
        ("score_sequence" if kind == "scores" else "stream_sequence"): pa.array([each.sequence for each in messages]),
        "payload": pa.array([each.payload for each in messages], pa.binary()),
    }
    if kind == "scores":
        fixed["model"] = null_if_empty(each.model for each in messages)
    return build_table(kind, declared.defaults.get(kind, ()), fixed, None)


def signature_of_key(key: ColumnsKey) -> tuple[SignatureColumn, ...]:
    """Returns a key's columns."""
    return tuple(SignatureColumn(n, v1.DataType.Name(t).removeprefix("DATA_TYPE_"), s) for n, t, s in key)


def inputs_tables(kind: str, messages: Sequence[Taken], declared: Declared) -> list[pa.Table]:
    """Returns parcels as rows.

    Args:
        kind: `inputs` or `raw`.
        messages: of that kind, in order.
        declared: which columns are typed ones.

    Returns:
        A table for each set of columns; none for no messages.
    """
    groups: dict[ColumnsKey | None, list[Taken]] = defaultdict(list)
    for each in messages:
        assert each.body is None or isinstance(each.body, v1.Parcel)
        key = None if each.body is None else columns_key(each.body.inputs)
        groups[key].append(each)
    tables = []
    if junk := groups.pop(None, None):
        tables.append(junk_table(kind, junk, declared))
    for key, group in groups.items():
        assert key is not None
        tables.append(_parcels_table(kind, group, declared, key))
    return merge(tables)


def _parcels_table(kind: str, messages: Sequence[Taken], declared: Declared, key: ColumnsKey) -> pa.Table:
    parcels: list[v1.Parcel] = [each.body for each in messages]  # type: ignore[misc] # parcels, all of them
    items = [item for parcel in parcels for item in parcel.items]
    rows = Rows([item.rows for item in items])
    fixed = _item_columns(items, rows) | _parcel_columns(messages, parcels, items, rows)
    if key and declared.covers(kind, key):
        return build_table(kind, signature_of_key(key), fixed, frame_arrays([each.inputs for each in parcels]))
    frames = chain.from_iterable(split_frame(each.inputs, [item.rows for item in each.items]) for each in parcels)
    payloads = pa.array([frame.SerializeToString() for frame in frames], pa.binary())
    fixed["payload"] = rows.first_only(payloads)
    return build_table(kind, declared.defaults.get(kind, ()), fixed, None)


def _item_columns(items: Sequence[v1.ParcelItem], rows: Rows) -> dict[str, pa.Array]:
    provenance = [each.provenance for each in items]
    steps = [step for each in provenance for step in each]
    texts = ([step.component for step in steps], [step.version for step in steps])
    of_items = {
        "request_id": pa.array([each.request_id for each in items], pa.string()),
        "rows": pa.array(rows.lengths, pa.int64()),
        "context": map_array([each.context for each in items]),
        "force_model": null_if_empty(each.diagnostics.force_model for each in items),
        "explain": pa.array([each.diagnostics.explain for each in items], pa.bool_()),
        "traceparent": null_if_empty(each.traceparent for each in items),
        "provenance": struct_lists(_type("inputs", "provenance"), [len(each) for each in provenance], texts),
    }
    columns = {name: rows.spread(array) for name, array in of_items.items()}
    columns["row"] = pa.array(rows.numbers)
    return columns


def _parcel_columns(
    messages: Sequence[Taken], parcels: Sequence[v1.Parcel], items: Sequence[v1.ParcelItem], rows: Rows
) -> dict[str, pa.Array]:
    of_items = Rows([len(each.items) for each in parcels])
    stored = np.fromiter((each.stored_us for each in messages), np.int64, len(messages))
    budgets = np.fromiter((each.budget_us for each in items), np.int64, len(items))
    ends = deadlines(np.repeat(stored, of_items.lengths), budgets)
    columns = {
        "parcel_id": pa.array([each.parcel_id for each in parcels], pa.string()),
        "stream_sequence": pa.array([each.sequence for each in messages], pa.int64()),
        "stored_at": timestamps(stored),
        "router": pa.array([each.router for each in parcels], pa.string()),
        "spec_revision": pa.array([each.spec_revision for each in parcels], pa.uint64()),
        "stage": pa.array([each.stage for each in messages], pa.int32()),
    }
    spread = {name: rows.spread(of_items.spread(array)) for name, array in columns.items()}
    return spread | {"deadline_at": rows.spread(timestamps(ends))}


def decisions_tables(messages: Sequence[Taken], declared: Declared) -> list[pa.Table]:
    """Returns decisions as rows, one a request; arguments and result as of `inputs_tables`."""
    tables = []
    if junk := [each for each in messages if each.body is None]:
        tables.append(junk_table("decisions", junk, declared))
    groups: dict[ColumnsKey | None, list[tuple[Taken, int, v1.DecisionRecord]]] = defaultdict(list)
    for each in messages:
        if isinstance(each.body, v1.DecisionBatch):
            for index, record in enumerate(each.body.records):
                groups[_outputs_key(record, each.size, declared)].append((each, index, record))
    tables += [_decisions_table(group, declared, key) for key, group in groups.items()]
    return merge(tables)


def _outputs_key(record: v1.DecisionRecord, size: int, declared: Declared) -> ColumnsKey | None:
    """Returns the columns of a decision's outputs; None: there are none that typed columns could hold."""
    outputs = record.outputs
    if not len(outputs.columns) or not is_sound(outputs, size):
        return None
    key = columns_key(outputs)
    return key if declared.covers("decisions", key) else None


def _decisions_table(
    group: Sequence[tuple[Taken, int, v1.DecisionRecord]], declared: Declared, key: ColumnsKey | None
) -> pa.Table:
    records = [record for _, _, record in group]
    fixed = _decision_columns(records) | {
        "stored_at": timestamps([each.stored_us for each, _, _ in group]),
        "stream_sequence": pa.array([each.sequence for each, _, _ in group], pa.int64()),
        "batch_index": pa.array([index for _, index, _ in group], pa.int32()),
    }
    if key is None:
        kept = [each.outputs.SerializeToString() if each.HasField("outputs") else None for each in records]
        fixed["payload"] = pa.array(kept, pa.binary())
        return build_table("decisions", declared.defaults.get("decisions", ()), fixed, None)
    columns = signature_of_key(key)
    lists = list(schema_of("decisions", columns))[-len(columns) :]
    lengths = [each.outputs.rows for each in records]
    arrays = frame_arrays([each.outputs for each in records])
    values = [list_array(told.type, lengths, array) for told, array in zip(lists, arrays, strict=True)]
    return build_table("decisions", columns, fixed, values)


def _decision_columns(records: Sequence[v1.DecisionRecord]) -> dict[str, pa.Array]:
    decisions = [each.decision for each in records]
    models = [list(each.models) for each in decisions]
    errors = [each.error if each.HasField("error") else None for each in records]
    return {
        "request_id": pa.array([each.request_id for each in decisions], pa.string()),
        "rule": pa.array([each.rule for each in decisions], pa.string()),
        "chosen": pa.array([each[0] if each else None for each in models], pa.string()),
        "models": pa.array(models, pa.list_(pa.string())),
        "spec_revision": pa.array([each.spec_revision for each in decisions], pa.uint64()),
        "decided_after_us": pa.array([each.decided_after_us for each in decisions], pa.int64()),
        "deadline_left_us": pa.array([each.deadline_left_us for each in decisions], pa.int64()),
        "budget_ns": pa.array([each.budget_ns or None for each in records], pa.int64()),
        "decided_after_ns": pa.array([each.decided_after_ns or None for each in records], pa.int64()),
        "due_after_ns": pa.array([each.due_after_ns or None for each in records], pa.int64()),
        "spec": pa.array([each.spec or None for each in records], pa.string()),
        "reason": pa.array([each.reason for each in decisions], pa.string()),
        "arrivals": _arrivals(decisions),
        "rows": pa.array([each.rows for each in records], pa.int64()),
        "parcel_id": pa.array([each.parcel_id for each in records], pa.string()),
        "first_row": pa.array([each.first_row for each in records], pa.int64()),
        "error_code": pa.array([None if each is None else error_name(each.code) for each in errors], pa.string()),
        "error_message": pa.array([None if each is None else each.message for each in errors], pa.string()),
        "decided_at": timestamps([each.decided_unix_us for each in records], zero_is_null=True),
        "router": pa.array([each.router for each in records], pa.string()),
    }


def _arrivals(decisions: Sequence[v1.Decision]) -> pa.Array:
    lengths = [len(each.arrivals) for each in decisions]
    arrivals = [arrival for each in decisions for arrival in each.arrivals]
    errors = [each.error if each.HasField("error") else None for each in arrivals]
    columns: list[Sequence[Any]] = [
        [each.model for each in arrivals],
        [each.version or None for each in arrivals],
        [_ROLES.get(each.role, str(each.role)) for each in arrivals],
        [_STATUSES.get(each.status, str(each.status)) for each in arrivals],
        [each.after_us for each in arrivals],
        [None if each is None else error_name(each.code) for each in errors],
        [None if each is None else each.message for each in errors],
        [each.after_ns or None for each in arrivals],
    ]
    return struct_lists(_type("decisions", "arrivals"), lengths, columns)


def feedback_table(messages: Sequence[Taken], declared: Declared) -> list[pa.Table]:
    """Returns outcomes as rows; arguments and result as of `inputs_tables`."""
    tables = []
    if junk := [each for each in messages if each.body is None]:
        tables.append(junk_table("feedback", junk, declared))
    told = [
        (each, index, outcome)
        for each in messages
        if isinstance(each.body, v1.FeedbackBatch)
        for index, outcome in enumerate(each.body.outcomes)
    ]
    if told:
        fixed = _outcome_columns([outcome for _, _, outcome in told]) | {
            "stored_at": timestamps([each.stored_us for each, _, _ in told]),
            "stream_sequence": pa.array([each.sequence for each, _, _ in told], pa.int64()),
            "batch_index": pa.array([index for _, index, _ in told], pa.int32()),
        }
        tables.append(build_table("feedback", (), fixed, None))
    return merge(tables)


def _outcome_columns(outcomes: Sequence[v1.Outcome]) -> dict[str, pa.Array]:
    def texts(value_of: Callable[[v1.Outcome], str]) -> pa.Array:
        return null_if_empty(map(value_of, outcomes))

    return {
        "feedback_id": pa.array([each.feedback_id for each in outcomes], pa.string()),
        "request_id": texts(lambda each: each.request_id),
        "row": pa.array([each.row if each.HasField("row") else None for each in outcomes], pa.int32()),
        "key_name": texts(lambda each: each.key.name),
        "key_value": texts(lambda each: each.key.value),
        "kind": pa.array([_OUTCOMES.get(each.kind, str(each.kind)) for each in outcomes], pa.string()),
        "output": texts(lambda each: each.output),
        "number": pa.array([_number(each) for each in outcomes], pa.float64()),
        "text": pa.array([each.text if each.HasField("text") else None for each in outcomes], pa.string()),
        "observed_at": timestamps([each.observed_unix_us for each in outcomes], zero_is_null=True),
        "source": pa.array([each.source for each in outcomes], pa.string()),
    }


def _number(outcome: v1.Outcome) -> float | None:
    given = outcome.WhichOneof("value")
    return float(getattr(outcome, given)) if given in ("number", "flag") else None


def merge(tables: Iterable[pa.Table]) -> list[pa.Table]:
    """Returns the tables, those of one schema as one."""
    by_names: dict[tuple[Any, ...], list[pa.Table]] = defaultdict(list)
    for table in tables:
        by_names[tuple((each.name, str(each.type), str(each.metadata)) for each in table.schema)].append(table)
    return [pa.concat_tables(each) for each in by_names.values()]


def _type(kind: str, name: str) -> pa.DataType:
    return schema_of(kind).field(name).type
