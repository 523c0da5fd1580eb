"""Scores as Arrow tables of the archive's schemas."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from rendezvous_proto import v1
from rendezvous_proto.frames import split_frame

from rendezvous_router.archive.columns import frame_arrays, null_if_empty, timestamps
from rendezvous_router.archive.messages import ColumnsKey, Declared, Taken, columns_key
from rendezvous_router.archive.parcel_facts import ParcelFacts, ParcelKey, key_of
from rendezvous_router.archive.tables import Rows, build_table, error_name, junk_table, merge, signature_of_key

__all__ = ["scores_tables"]


@dataclass(slots=True, frozen=True)
class _Item:
    """One request's part of a score, with what its parcel tells."""

    request_id: str
    rows: int
    error: v1.Error | None
    is_known: bool
    late: bool | None


def scores_tables(
    messages: Sequence[Taken],
    declared: Declared,
    parcels: Mapping[ParcelKey, ParcelFacts],
    *,
    origin: str = "live",
    run: str | None = None,
) -> list[tuple[str, pa.Table]]:
    """Returns scores as rows, one for each scored row; a failed request has one for each of its rows.

    Args:
        messages: in order.
        declared: which columns are typed ones.
        parcels: the parcels that were scored, as far as they are known.
        origin: `live` or `replay`.
        run: of the replay.

    Returns:
        (kind, table) for each kind and set of columns.
    """
    groups: dict[tuple[str, ColumnsKey | None], list[Taken]] = defaultdict(list)
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    if junk := [each for each in messages if each.body is None]:
        tables["scores"].append(junk_table("scores", junk, declared))
    for each in messages:
        if isinstance(each.body, v1.ParcelScore):
            kind = "enrichments" if each.body.stage else "scores"
            key = columns_key(each.body.outputs) or None
            groups[kind, key].append(each)
    for (kind, key), group in groups.items():
        tables[kind].append(_group_table(kind, group, declared, parcels, key, origin, run))
    return [(kind, table) for kind, each in tables.items() for table in merge(each)]


def _group_table(
    kind: str,
    messages: Sequence[Taken],
    declared: Declared,
    parcels: Mapping[ParcelKey, ParcelFacts],
    key: ColumnsKey | None,
    origin: str,
    run: str | None,
) -> pa.Table:
    scores: list[v1.ParcelScore] = [each.body for each in messages]  # type: ignore[misc] # scores, all of them
    facts = [parcels.get(key_of(score)) for score in scores]
    items = [
        item for each, score, told in zip(messages, scores, facts, strict=True) for item in _items(each, score, told)
    ]
    rows = Rows([item.rows for item in items])
    fixed = _item_columns(items, rows)
    fixed |= _score_columns(messages, scores, facts, rows)
    fixed["origin"] = pa.array([origin], pa.string()).take(pa.array(np.zeros(rows.total, np.int8)))
    if run is not None:
        fixed["run"] = pa.array([run], pa.string()).take(pa.array(np.zeros(rows.total, np.int8)))
    if key is None:
        return build_table(kind, declared.defaults.get(kind, ()), fixed, None)
    failed = np.repeat(np.fromiter((item.error is not None for item in items), np.bool_, len(items)), rows.lengths)
    if not declared.covers(kind, key):
        fixed["payload"] = _payloads(scores, items, rows)
        return build_table(kind, declared.defaults.get(kind, ()), fixed, None)
    values = frame_arrays([score.outputs for score in scores])
    if failed.any():
        index = pa.array(np.cumsum(~failed) - 1, mask=failed)
        values = [each.take(index) for each in values]
    return build_table(kind, signature_of_key(key), fixed, values)


def _items(message: Taken, score: v1.ParcelScore, facts: ParcelFacts | None) -> list[_Item]:
    elapsed_us = 0 if facts is None else message.stored_us - facts.stored_us
    items = []
    for number, item in enumerate(score.items):
        request_id, rows = item.request_id, item.rows
        place = None if facts is None else facts.item(number, request_id)
        late = None if place is None or facts is None else elapsed_us > facts.budgets_us[place]
        if rows:
            items.append(_Item(request_id, rows, None, True, late))
        elif place is None or facts is None:
            items.append(_Item(request_id, 1, item.error, False, late))
        else:
            items.append(_Item(request_id, facts.rows[place], item.error, True, late))
    return items


def _item_columns(items: Sequence[_Item], rows: Rows) -> dict[str, pa.Array]:
    errors = [item.error for item in items]
    of_items = {
        "request_id": pa.array([item.request_id for item in items], pa.string()),
        "late": pa.array([item.late for item in items], pa.bool_()),
    }
    if any(each is not None for each in errors):
        codes = [None if each is None else error_name(each.code) for each in errors]
        of_items["error_code"] = pa.array(codes, pa.string())
        of_items["error_message"] = pa.array([None if each is None else each.message for each in errors], pa.string())
    unknown = np.fromiter((not item.is_known for item in items), np.bool_, len(items))
    columns = {name: rows.spread(array) for name, array in of_items.items()}
    columns["row"] = pa.array(rows.numbers, mask=np.repeat(unknown, rows.lengths))
    return columns


def _score_columns(
    messages: Sequence[Taken], scores: Sequence[v1.ParcelScore], facts: Sequence[ParcelFacts | None], rows: Rows
) -> dict[str, pa.Array]:
    after = [
        None if told is None else each.stored_us - told.stored_us for each, told in zip(messages, facts, strict=True)
    ]
    timings = [score.timing for score in scores]
    columns = {
        "model": pa.array([score.model for score in scores], pa.string()),
        "version": pa.array([score.version for score in scores], pa.string()),
        "replica": pa.array([score.replica for score in scores], pa.string()),
        "delivery": pa.array([score.delivery for score in scores], pa.int64()),
        "received_at": timestamps([each.received_unix_us for each in timings], zero_is_null=True),
        "started_at": timestamps([each.started_unix_us for each in timings], zero_is_null=True),
        "finished_at": timestamps([each.finished_unix_us for each in timings], zero_is_null=True),
        "stored_at": timestamps([each.stored_us for each in messages]),
        "after_us": pa.array(after, pa.int64()),
        "parcel_id": null_if_empty(score.parcel_id for score in scores),
        "parcel_sequence": pa.array([score.parcel_sequence for score in scores], pa.uint64()),
        "stage": pa.array([score.stage for score in scores], pa.int64()),
        "score_sequence": pa.array([each.sequence for each in messages], pa.int64()),
    }
    of_items = Rows([len(score.items) for score in scores])
    index = np.repeat(np.repeat(np.arange(len(scores)), of_items.lengths), rows.lengths)
    return {name: array.take(pa.array(index)) for name, array in columns.items()}


def _payloads(scores: Sequence[v1.ParcelScore], items: Sequence[_Item], rows: Rows) -> pa.Array:
    """Returns what typed columns cannot tell: each scored item's part of the outputs, in its first row."""
    frames = (
        frame
        for score in scores
        for frame in split_frame(score.outputs, [item.rows for item in score.items if item.rows])
    )
    kept = [None if item.error is not None else next(frames).SerializeToString() for item in items]
    return rows.first_only(pa.array(kept, pa.binary()))
