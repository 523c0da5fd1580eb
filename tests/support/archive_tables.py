"""The Arrow tables of a made-up archive, vectorised: a million scores take about a second."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
from rendezvous_sdk.archive.schema import SignatureColumn, schema_of

from tests.support.archive_columns import at, cases, constant, contexts, lists, make_ids, masked, no_provenance

INPUTS = (
    SignatureColumn("amount", "FP64"),
    SignatureColumn("duration_months", "INT64"),
    SignatureColumn("purpose", "STRING"),
    SignatureColumn("phone", "BOOL"),
)
NEW_INPUTS = (
    SignatureColumn("amount", "FP64"),
    SignatureColumn("duration_months", "FP64"),
    SignatureColumn("purpose", "STRING"),
    SignatureColumn("age", "INT32"),
)
HISTORY = SignatureColumn("history", "INT64")
OUTPUTS = (SignatureColumn("default_probability", "FP64"), SignatureColumn("label", "STRING"))

_PURPOSES = ("car", "education", "furniture", "repairs", "business")
PARCEL_REQUESTS = 4
_BATCH_DECISIONS = 64
_MARGIN_US = 5000

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Requests:
    """A run of requests; arrays have one element for each request, but *row* arrays one for each row."""

    ids: pa.Array
    parcel_ids: pa.Array
    numbers: _Array
    stored_us: _Array
    rows: int
    odds: _Array
    """Log-odds of default, by row."""
    is_bad: _Array
    """Truth, by row."""
    is_repeat: bool = False
    parcels_from: int = 1
    """Sequence of the first parcel in the durable stream."""

    @classmethod
    def make(cls, rng: np.random.Generator, *, first: int, count: int, rows: int, stored_us: _Array) -> Self:
        """Makes requests with numbers from *first* on."""
        numbers = np.arange(first, first + count)
        odds = rng.normal(-1.0, 1.5, count * rows)
        is_bad = rng.random(count * rows) < 1 / (1 + np.exp(-odds))
        ids = make_ids(stored_us, numbers, 0x7001)
        return cls(ids, make_ids(stored_us, numbers // PARCEL_REQUESTS, 0x7002), numbers, stored_us, rows, odds, is_bad)

    @property
    def count(self) -> int:
        """Requests."""
        return len(self.numbers)

    @property
    def parcels(self) -> int:
        """Parcels in which they travelled."""
        return -(-self.count // PARCEL_REQUESTS)

    @property
    def decision_batches(self) -> int:
        """Messages with their decisions."""
        return -(-self.count // _BATCH_DECISIONS)

    @property
    def by_row(self) -> _Array:
        """Index of the request of each row."""
        return np.repeat(np.arange(self.count), self.rows)

    @property
    def row(self) -> pa.Array:
        """Number of each row in its request."""
        return pa.array(np.tile(np.arange(self.rows, dtype=np.int32), self.count))

    def mask(self, rng: np.random.Generator, share: float) -> _Array:
        """Draws a share of the requests."""
        drawn: _Array = rng.random(self.count) < share
        return drawn

    def some(self, rng: np.random.Generator, share: float) -> "Requests":
        """Returns a share of the requests."""
        kept = np.flatnonzero(self.mask(rng, share))
        rows = np.flatnonzero(np.isin(self.by_row, kept))
        return Requests(
            self.ids.take(kept), self.parcel_ids.take(kept), self.numbers[kept], self.stored_us[kept], self.rows,
            self.odds[rows], self.is_bad[rows],
        )  # fmt: skip

    def repeated(self) -> "Requests":
        """Returns them as they came again, 80 ms later, in parcels of another router."""
        stored_us = self.stored_us + 80_000
        parcel_ids = make_ids(stored_us, np.arange(self.count) // PARCEL_REQUESTS, 0x7003)
        return replace(self, parcel_ids=parcel_ids, stored_us=stored_us, is_repeat=True)


@dataclass(frozen=True, slots=True)
class Scored:
    """What one model made of some requests; arrays have one element for each request, but *row* arrays."""

    model: Any
    answered: _Array
    failed: _Array
    after_us: _Array
    late: _Array
    odds: _Array
    """By row."""

    @classmethod
    def make(cls, rng: np.random.Generator, requests: Requests, model: Any, deadline_ms: float) -> Self:
        """Has a model score requests."""
        after_us = (rng.lognormal(np.log(model.median_ms), model.spread, requests.count) * 1000).astype(np.int64)
        return cls(
            model=model,
            answered=rng.random(requests.count) >= model.silent,
            failed=rng.random(requests.count) < model.failed,
            after_us=after_us,
            late=after_us > deadline_ms * 1000,
            odds=requests.odds + rng.normal(0, model.noise, len(requests.odds)),
        )

    def only(self, mask: _Array) -> "Scored":
        """Returns it as if it had answered only these requests, a second later."""
        after_us = self.after_us + 1_000_000
        return replace(self, answered=self.answered & mask, after_us=after_us, late=np.ones_like(self.late))


def inputs(
    requests: Requests,
    signature: tuple[SignatureColumn, ...],
    deadline_ms: float,
    sequence: int,
    *,
    enriched: bool = False,
) -> pa.Table:
    """Returns rows of `inputs` or `raw`."""
    rng = np.random.default_rng(int(requests.numbers[0]))
    by_row, total = requests.by_row, len(requests.odds)
    stored = at(requests.stored_us[by_row])
    columns = {
        "request_id": requests.ids.take(by_row),
        "row": requests.row,
        "rows": constant(np.int32(requests.rows), total),
        "parcel_id": requests.parcel_ids.take(by_row),
        "stream_sequence": pa.array(sequence + np.arange(requests.count)[by_row] // PARCEL_REQUESTS),
        "stored_at": stored,
        "deadline_at": at(requests.stored_us[by_row] + int(deadline_ms * 1000)),
        "router": constant("east" if requests.is_repeat else "west", total),
        "spec_revision": constant(2 if signature is NEW_INPUTS else 1, total),
        "context": contexts(requests.numbers[by_row]),
        "explain": constant(False, total),
        "provenance": no_provenance(total),
        "amount": pa.array(np.round(np.exp(8 + 0.3 * requests.odds + rng.normal(0, 0.5, total)), 2)),
        "duration_months": pa.array(rng.integers(6, 60, total)),
        "purpose": pa.array(_PURPOSES).take(rng.integers(0, len(_PURPOSES), total)),
        "phone": pa.array(rng.random(total) < 0.5),
        "age": pa.array(rng.integers(18, 90, total).astype(np.int32), mask=rng.random(total) < 0.1),
        "history": pa.array(rng.integers(0, 9, total)),
    }
    return _table("inputs", (*signature, HISTORY) if enriched else signature, columns, total)


def scores(
    requests: Requests, scored: Scored, *, sequence: int, delivery: int = 1, replayed_us: int | None = None
) -> pa.Table:
    """Returns rows of `scores` of one model; *replayed_us*: when it was replayed."""
    kept, columns = _score_columns(requests, scored, sequence, delivery, replayed_us)
    failed = scored.failed[requests.by_row[kept]]
    odds = scored.odds[kept]
    columns["default_probability"] = pa.array(1 / (1 + np.exp(-odds)), mask=failed)
    columns["label"] = pa.array(["good", "bad"]).take(pa.array((odds > 0).astype(np.int8), mask=failed))
    return _table("scores", OUTPUTS, columns, len(kept))


def enrichments(requests: Requests, scored: Scored, sequence: int) -> pa.Table:
    """Returns rows of `enrichments` of one enricher."""
    kept, columns = _score_columns(requests, scored, sequence, 1, None)
    columns["history"] = pa.array(np.random.default_rng(1).integers(0, 9, len(kept)))
    return _table("enrichments", (HISTORY,), columns, len(kept))


def _score_columns(
    requests: Requests, scored: Scored, sequence: int, delivery: int, replayed_us: int | None
) -> tuple[_Array, dict[str, pa.Array]]:
    by_row = requests.by_row
    kept = np.flatnonzero(scored.answered[by_row])
    request, total = by_row[kept], len(kept)
    parcel = request // PARCEL_REQUESTS
    parcel_us = requests.stored_us[request]
    after_us = scored.after_us[request]
    is_live = replayed_us is None
    stored_us = parcel_us + after_us if is_live else np.full(total, replayed_us)
    failed = scored.failed[request]
    codes = pa.array([None, "MODEL_FAILED"]).take(failed.astype(np.int8))
    return kept, {
        "request_id": requests.ids.take(request),
        "row": requests.row.take(kept),
        "model": constant(scored.model.name, total),
        "version": constant(scored.model.version, total),
        "replica": constant(f"{scored.model.name}-1", total),
        "delivery": constant(np.int32(delivery), total),
        "origin": constant("live" if is_live else "replay", total),
        "run": constant(None if is_live else "nightly", total),
        "error_code": codes,
        "error_message": pa.array([None, "ValueError: no such purpose"]).take(failed.astype(np.int8)),
        "received_at": at(stored_us - after_us // 2),
        "started_at": at(stored_us - after_us // 2 + 10),
        "finished_at": at(stored_us - 100),
        "stored_at": at(stored_us),
        "after_us": pa.array(after_us) if is_live else pa.nulls(total, pa.int64()),
        "late": pa.array(scored.late[request] & is_live),
        "parcel_id": requests.parcel_ids.take(request),
        "parcel_sequence": pa.array(requests.parcels_from + parcel),
        "score_sequence": pa.array(sequence + parcel),
    }


def decisions(
    requests: Requests, scored: list[Scored], deadline_ms: float, sequence: int
) -> tuple[pa.Table, dict[str, int]]:
    """Returns rows of `decisions` (the best that came before the deadline's margin), and how often which was chosen."""
    count, limit_us = requests.count, int(deadline_ms * 1000) - _MARGIN_US
    chosen = np.full(count, -1)
    decided_us = np.full(count, limit_us)
    for number, each in reversed(list(enumerate(scored))):
        chosen[each.answered & ~each.failed & (each.after_us <= limit_us)] = number
    champion = scored[0]
    decided_us[chosen == 0] = champion.after_us[chosen == 0]
    names = pa.array([*(each.model.name for each in scored), None])
    columns = {
        "request_id": requests.ids,
        "rule": pa.array(["steps[0].best", "none"]).take((chosen < 0).astype(np.int8)),
        "chosen": names.take(np.where(chosen < 0, len(scored), chosen)),
        "models": lists(names.take(chosen[chosen >= 0]), (chosen >= 0).astype(np.int32)),
        "spec_revision": constant(1, count),
        "decided_after_us": pa.array(decided_us),
        "deadline_left_us": pa.array(limit_us + _MARGIN_US - decided_us),
        "reason": constant("made up", count),
        "arrivals": _arrivals(scored, decided_us),
        "rows": constant(np.int32(requests.rows), count),
        "parcel_id": requests.parcel_ids,
        "first_row": pa.array((np.arange(count) % PARCEL_REQUESTS * requests.rows).astype(np.int32)),
        "error_code": pa.array([None, "NO_ANSWER"]).take((chosen < 0).astype(np.int8)),
        "error_message": pa.array([None, "no score came in time"]).take((chosen < 0).astype(np.int8)),
        "decided_at": at(requests.stored_us + decided_us),
        "router": constant("east" if requests.is_repeat else "west", count),
        "stored_at": at(requests.stored_us + decided_us + 50_000),
        "stream_sequence": pa.array(sequence + np.arange(count) // _BATCH_DECISIONS),
        "batch_index": pa.array((np.arange(count) % _BATCH_DECISIONS).astype(np.int32)),
    }
    answers = np.stack([each.odds for each in scored])[chosen[requests.by_row], np.arange(len(requests.odds))]
    given = (chosen >= 0)[requests.by_row]
    lengths = np.where(chosen >= 0, requests.rows, -1)
    columns["default_probability"] = lists(pa.array(1 / (1 + np.exp(-answers[given]))), lengths)
    columns["label"] = lists(pa.array(["good", "bad"]).take((answers[given] > 0).astype(np.int8)), lengths)
    numbers, times = np.unique(chosen, return_counts=True)
    counts = {
        "-" if number < 0 else scored[number].model.name: int(n) for number, n in zip(numbers, times, strict=True)
    }
    return _table("decisions", OUTPUTS, columns, count), counts


def _arrivals(scored: list[Scored], decided_us: _Array) -> pa.Array:
    came = np.stack([each.answered & (each.after_us <= decided_us) for each in scored], axis=1)
    failed = np.stack([each.failed for each in scored], axis=1) & came
    count, total = len(decided_us), came.size

    def tiled(texts: list[str]) -> pa.Array:
        return pa.array(texts).take(np.tile(np.arange(len(texts)), count))

    status = np.where(failed, 1, np.where(came, 0, 2)).ravel()
    after_us = np.stack([each.after_us for each in scored], axis=1).ravel()
    struct = pa.StructArray.from_arrays(
        [
            tiled([each.model.name for each in scored]),
            tiled([each.model.version for each in scored]),
            tiled([each.model.role for each in scored]),
            pa.array(["scored", "failed", "pending"]).take(status),
            pa.array(np.where(came.ravel(), after_us, 0)),
            pa.array([None, "MODEL_FAILED"]).take(failed.ravel().astype(np.int8)),
            pa.nulls(total, pa.string()),
            pa.array(np.where(came.ravel(), after_us * 1000, 0)),
        ],
        fields=list(schema_of("decisions").field("arrivals").type.value_type),
    )
    return pa.ListArray.from_arrays(np.arange(0, total + 1, len(scored), dtype=np.int32), struct)


def feedback(rng: np.random.Generator, requests: Requests, plan: Any, sequence: int) -> tuple[pa.Table, int]:
    """Returns rows of `feedback` as *plan* says, and of how many requests the truth is known."""
    known = np.flatnonzero(requests.mask(rng, plan.truth))
    corrected = rng.random(len(known)) < plan.corrections
    early, late = corrected & (known % 2 == 0), corrected & (known % 2 == 1)
    parts = [
        _truths(requests, known[early], is_right=False, observed_days=20),
        _truths(requests, known, is_right=True, observed_days=30),
        _truths(requests, known[late], is_right=False, observed_days=20),
        _opinions(requests, np.flatnonzero(requests.mask(rng, plan.rewards)), "reward"),
        _opinions(requests, np.flatnonzero(requests.mask(rng, plan.verdicts)), "verdict"),
    ]
    table = pa.concat_tables(parts)
    stored = at(np.full(table.num_rows, requests.stored_us[-1]))
    places = {"stored_at": stored, "stream_sequence": pa.array(sequence + np.arange(table.num_rows))}
    names = make_ids(np.full(table.num_rows, requests.stored_us[-1]), sequence + np.arange(table.num_rows), 0x7004)
    for name, column in {**places, "feedback_id": names}.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table, len(known)


def _truths(requests: Requests, which: _Array, *, is_right: bool, observed_days: int) -> pa.Table:
    """A third by request and row, a third by request (of the first row's truth), a third by business key."""
    way = which % 3
    each_row = way == 0
    index = np.concatenate([np.repeat(which[each_row], requests.rows), which[~each_row]])
    row = np.concatenate([np.tile(np.arange(requests.rows), each_row.sum()), np.zeros((~each_row).sum(), np.int64)])
    way = index % 3
    bad = requests.is_bad[index * requests.rows + row] == is_right
    columns = {
        "request_id": masked(requests.ids.take(index), way == 2),
        "row": pa.array(row.astype(np.int32), mask=way != 0),
        "key_name": masked(constant("case_id", len(index)), way != 2),
        "key_value": masked(cases(requests.numbers[index]), way != 2),
        "kind": constant("truth", len(index)),
        "output": constant("label", len(index)),
        "text": pa.array(["good", "bad"]).take(bad.astype(np.int8)),
        "observed_at": at(requests.stored_us[index] + observed_days * 86_400_000_000),
        "source": constant("collections", len(index)),
        "batch_index": constant(np.int32(0), len(index)),
    }
    return _table("feedback", (), columns, len(index))


def _opinions(requests: Requests, which: _Array, kind: str) -> pa.Table:
    bad = requests.is_bad[which * requests.rows]
    columns = {
        "request_id": requests.ids.take(which),
        "kind": constant(kind, len(which)),
        "observed_at": at(requests.stored_us[which] + 3_600_000_000),
        "source": constant("analyst", len(which)),
        "batch_index": constant(np.int32(0), len(which)),
    }
    if kind == "reward":
        columns["number"] = pa.array(np.where(bad, -1.0, 0.1))
    else:
        columns["text"] = pa.array(["approve", "reject"]).take(bad.astype(np.int8))
    return _table("feedback", (), columns, len(which))


def _table(kind: str, signature: tuple[SignatureColumn, ...], columns: dict[str, pa.Array], rows: int) -> pa.Table:
    schema = schema_of(kind, signature)
    arrays = [
        columns[each.name].cast(each.type) if each.name in columns else pa.nulls(rows, each.type) for each in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
