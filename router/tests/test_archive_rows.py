"""Messages as rows of the archive, and back: nothing is lost on the way to Parquet."""

import datetime as dt
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame
from rendezvous_router.archive.messages import Declared, Taken, decode
from rendezvous_router.archive.parcel_facts import ParcelCache, ParcelFacts
from rendezvous_router.archive.rows import durable_rows, score_rows
from rendezvous_router.archive.store import ArchiveStore, Batch, to_parquet
from rendezvous_sdk.archive import open_archive
from rendezvous_sdk.archive.layout import KINDS, SCORES, ArchiveRoot, Generation
from rendezvous_sdk.archive.schema import (
    SignatureColumn,
    column_names,
    has_schema_id,
    schema_id,
    schema_of,
    signature_of,
)

from tests.support.archiving import BUDGET_US, credit_spec, make_decisions, make_parcel, make_score

STORED_US = 1_760_000_000_000_000
EPOCH, STEP = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.timedelta(microseconds=1)
STORED_AT = EPOCH + STORED_US * STEP
NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_BEEF))[0]
"""A NaN with a payload."""

COLUMNS: dict[str, tuple[str, list[int], list[Any]]] = {
    "bool": ("BOOL", [], [True, False, None]),
    "uint8": ("UINT8", [], [0, 255, None]),
    "uint16": ("UINT16", [], [0, 2**16 - 1, None]),
    "uint32": ("UINT32", [], [0, 2**32 - 1, None]),
    "uint64": ("UINT64", [], [0, 2**64 - 1, None]),
    "int8": ("INT8", [], [-128, 127, None]),
    "int16": ("INT16", [], [-(2**15), 2**15 - 1, None]),
    "int32": ("INT32", [], [-(2**31), 2**31 - 1, None]),
    "int64": ("INT64", [], [-(2**63), 2**63 - 1, None]),
    "fp16": ("FP16", [], [-0.0, 65504.0, None]),
    "fp32": ("FP32", [], [-0.0, 1.5, None]),
    "fp64": ("FP64", [], [-0.0, NAN, None]),
    "bytes": ("BYTES", [], [b"", b"\x00\xff", None]),
    "string": ("STRING", [], ["", "Zürich", None]),
    "vector": ("FP64", [2], [[1.0, -0.0], [NAN, 2.0], None]),
    "matrix": ("INT16", [2, 3], [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]], None]),
    "words": ("STRING", [2], [["a", ""], ["b", "c"], None]),
    "blobs": ("BYTES", [2], [[b"a", b""], [b"b", b"c"], None]),
    "flags": ("BOOL", [3], [[True, False, True], [False, False, True], None]),
    "Row": ("INT8", [], [1, 2, None]),
    "row": ("FP32", [], [1.0, 2.0, None]),
    "day": ("STRING", [], ["x", "y", None]),
}


def declared(columns: dict[str, tuple[str, list[int], list[Any]]] | None = None) -> Declared:
    """Returns the endpoint's columns."""
    known = Declared()
    inputs = [{"name": n, "type": k, "shape": s, "missing": True} for n, (k, s, _) in (columns or {}).items()]
    known.learn(credit_spec(inputs=inputs) if columns is not None else credit_spec())
    return known


def taken(body: Any, sequence: int = 1, subject: str = "rv.credit.input", stored_us: int = STORED_US) -> Taken:
    """Returns a message as it is read."""
    return decode(subject, body if isinstance(body, bytes) else body.SerializeToString(), sequence, stored_us)


def through_parquet(tables: Sequence[tuple[str, pa.Table]]) -> list[tuple[str, pa.Table]]:
    """Returns the tables as they are read again."""
    return [(kind, pq.read_table(pa.BufferReader(to_parquet(table)))) for kind, table in tables]


def frame_of(columns: dict[str, tuple[str, list[int], list[Any]]]) -> v1.Frame:
    """Returns the columns as a frame."""
    types = {name: kind for name, (kind, _, _) in columns.items()}
    return encode_frame({name: values for name, (_, _, values) in columns.items()}, types=types)


def same_bits(left: Any, right: Any) -> bool:
    """Returns whether values are equal, NaN's payload and the sign of zero included."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_bits, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    return left == right and type(left) is type(right)


@pytest.mark.parametrize("rows", [(1, 1, 1), (3,), (2, 1)])
def test_every_type_comes_back_bit_for_bit(rows: tuple[int, ...]) -> None:
    """Each datatype, shape, missing value, NaN with a payload and negative zero is the same after Parquet."""
    parcel = make_parcel(rows)
    parcel.inputs.CopyFrom(frame_of(COLUMNS))
    ((kind, table),) = through_parquet(durable_rows([taken(parcel)], declared(COLUMNS)))
    assert kind == "inputs"
    originals = signature_of(table.schema)
    assert [(each.name, each.type, list(each.shape)) for each in originals.values()] == [
        (name, told, shape) for name, (told, shape, _) in COLUMNS.items()
    ]
    for stored, column in originals.items():
        assert same_bits(table[stored].to_pylist(), COLUMNS[column.name][2]), column
    assert table["payload"].null_count == 3


def test_many_parcels_of_many_sizes_keep_their_order() -> None:
    """Rows of joined parcels stay with their requests, whether or not some rows are missing."""
    parcels = [make_parcel((1, 2), {"amount": [float(n), None, 0.5]}) for n in range(5)]
    parcels += [make_parcel((1,), {"amount": [float(n)]}) for n in range(5)]
    messages = [taken(each, sequence) for sequence, each in enumerate(parcels, 1)]
    ((_, table),) = durable_rows(messages, declared())
    rows = table.to_pylist()
    assert [row["amount"] for row in rows[:6]] == [0.0, None, 0.5, 1.0, None, 0.5]
    assert [(row["row"], row["rows"]) for row in rows[:3]] == [(0, 1), (0, 2), (1, 2)]
    assert [row["stream_sequence"] for row in rows] == [n for n in range(1, 6) for _ in range(3)] + list(range(6, 11))
    wanted = [item.request_id for each in parcels for item in each.items for _ in range(item.rows)]
    assert [row["request_id"] for row in rows] == wanted


def test_fixed_columns_of_inputs() -> None:
    """Context, diagnostics, provenance, trace and deadline are beside the values; what is empty is null."""
    parcel = make_parcel((2, 1), spec_revision=9)
    first, second = parcel.items
    first.context.update({"customer": "c1", "sticky": "x"})
    first.traceparent = "00-trace"
    first.diagnostics.force_model, first.diagnostics.explain = "logit", True
    first.provenance.add(component="rendezvous-router", version="0.1.0")
    ((_, table),) = through_parquet(durable_rows([taken(parcel, 4)], declared()))
    one, _, other = table.to_pylist()
    assert (dict(one["context"]), other["context"]) == ({"customer": "c1", "sticky": "x"}, [])
    assert (one["traceparent"], one["force_model"], one["explain"]) == ("00-trace", "logit", True)
    assert (other["traceparent"], other["force_model"], other["explain"]) == (None, None, False)
    assert one["provenance"] == [{"component": "rendezvous-router", "version": "0.1.0"}]
    assert (other["request_id"], other["rows"], other["parcel_id"]) == (second.request_id, 1, parcel.parcel_id)
    assert (one["spec_revision"], one["router"], one["stream_sequence"]) == (9, "r1", 4)
    assert (one["deadline_at"] - one["stored_at"]).microseconds == BUDGET_US


@pytest.mark.parametrize(
    ("columns", "why"),
    [({"other": [1.0, 2.0, 3.0]}, "not declared"), ({"amount": [1, 2, 3]}, "another type"), ({}, "no columns")],
)
def test_what_typed_columns_cannot_tell_is_kept_as_it_is(columns: dict[str, Any], why: str) -> None:
    """A frame of other columns than declared is kept in the first row of its request, serialized."""
    parcel = make_parcel((1, 2), columns)
    parcel.inputs.rows = 3
    ((_, table),) = through_parquet(durable_rows([taken(parcel)], declared()))
    rows = table.to_pylist()
    assert [row["amount"] for row in rows] == [None] * 3, why
    assert [row["payload"] is None for row in rows] == [False, False, True]
    assert v1.Frame.FromString(rows[1]["payload"]).rows == 2
    assert {column.name for column in v1.Frame.FromString(rows[1]["payload"]).columns} == set(columns)


JUNK: dict[str, bytes] = {
    "no message": b"\xff\xff\xff",
    "empty": b"",
    "rows that are not there": make_parcel((2,), {"amount": [1.0]}).SerializeToString(),
    "a request without rows": v1.Parcel(items=[v1.ParcelItem(request_id="x")]).SerializeToString(),
    "more rows than bytes": v1.Parcel(
        items=[v1.ParcelItem(request_id="x", rows=10**12)], inputs=v1.Frame(rows=10**12)
    ).SerializeToString(),
    "values that are too short": v1.Parcel(
        items=[v1.ParcelItem(request_id="x", rows=1)],
        inputs=v1.Frame(rows=1, columns=[v1.Column(name="amount", type=12, values=b"123")]),  # type: ignore[arg-type]
    ).SerializeToString(),
}


@pytest.mark.parametrize("subject", ["input", "raw", "raw.2", "decision", "feedback", "score.boosted.r1"])
@pytest.mark.parametrize("what", ["no message", "empty"])
def test_what_is_no_message_of_ours_is_kept(subject: str, what: str) -> None:
    """Whatever is published anywhere makes one row with its bytes."""
    message = taken(JUNK[what], 7, f"rv.credit.{subject}")
    tables = score_rows([message], declared(), {}) if "score" in subject else durable_rows([message], declared())
    ((kind, table),) = through_parquet(tables)
    (row,) = table.to_pylist()
    name = "score_sequence" if kind == "scores" else "stream_sequence"
    assert (row["payload"], row[name], row["request_id"]) == (JUNK[what], 7, None)


@pytest.mark.parametrize("what", JUNK)
def test_a_parcel_that_contradicts_itself_is_kept(what: str) -> None:
    """It is archived as it is, and the parcel beside it as rows."""
    messages = [taken(JUNK[what], 1), taken(make_parcel((1,)), 2)]
    rows = [row for _, table in durable_rows(messages, declared()) for row in table.to_pylist()]
    assert sorted((row["stream_sequence"], row["payload"]) for row in rows) == [(1, JUNK[what]), (2, None)]


def test_scores_tell_lateness_and_failures() -> None:
    """A failed request has a row for each of its rows; lateness is by the broker's clock; payload stays empty."""
    parcel = make_parcel((1, 2, 1))
    facts = ParcelFacts.of(parcel, STORED_US)
    scores = [
        taken(make_score(parcel, 1), 1, "rv.credit.score.boosted.r1", STORED_US + 10),
        taken(make_score(parcel, 1, "logit", failed=[1]), 2, "rv.credit.score.logit.r1", STORED_US + BUDGET_US + 1),
        taken(make_score(parcel, 1, "tree", failed=[0, 1, 2]), 3, "rv.credit.score.tree.r1", STORED_US + BUDGET_US),
    ]
    tables = through_parquet(score_rows(scores, declared(), {facts.key: facts}))
    assert {kind for kind, _ in tables} == {"scores"}
    rows = [row for _, table in tables for row in table.to_pylist()]
    by_model = {name: [row for row in rows if row["model"] == name] for name in ("boosted", "logit", "tree")}
    assert [(row["row"], row["risk"]) for row in by_model["boosted"]] == [(0, 0.5), (0, 1.5), (1, 2.5), (0, 3.5)]
    assert [row["risk"] for row in by_model["logit"]] == [0.5, None, None, 1.5]
    assert [row["error_code"] for row in by_model["logit"]] == [None, "MODEL_FAILED", "MODEL_FAILED", None]
    assert [(row["row"], row["error_message"]) for row in by_model["tree"]] == [(n, "no") for n in (0, 0, 1, 0)]
    assert {row["late"] for row in by_model["boosted"]} == {False}
    assert {(row["late"], row["after_us"]) for row in by_model["logit"]} == {(True, BUDGET_US + 1)}
    assert {row["late"] for row in by_model["tree"]} == {False}
    assert all(row["payload"] is None and row["origin"] == "live" and row["run"] is None for row in rows)


@pytest.mark.parametrize(
    ("fields", "is_kept_whole"),
    [
        ({}, False),
        ({"endpoint": ""}, False),
        ({"model": "logit"}, True),
        ({"model": ""}, True),
        ({"endpoint": "debit"}, True),
    ],
)
def test_a_score_is_its_subjects_models(fields: dict[str, str], is_kept_whole: bool) -> None:
    """One that names another model or endpoint is kept whole, under the model that published it, as no score."""
    parcel = make_parcel((1, 2))
    facts = ParcelFacts.of(parcel, STORED_US)
    score = make_score(parcel, 1)
    for name, value in fields.items():
        setattr(score, name, value)
    message = taken(score, 7, "rv.credit.score.boosted.r1")
    ((kind, table),) = through_parquet(score_rows([message], declared(), {facts.key: facts}))
    rows = table.to_pylist()
    assert (kind, {row["model"] for row in rows}) == ("scores", {"boosted"})
    kept = [(7, None, None, None, score.SerializeToString())]
    told = [(row["score_sequence"], row["request_id"], row["row"], row["risk"], row["payload"]) for row in rows]
    assert (told == kept, len(rows)) == (is_kept_whole, 1 if is_kept_whole else 3)


def test_what_is_no_score_is_no_outcome(tmp_path: Path) -> None:
    """A forged score is in the view of all scores, with its bytes, and not among the outcomes."""
    forged = make_score(make_parcel((1,)), 1)
    messages = [taken(forged, 1, "rv.credit.score.logit.r1"), taken(forged, 2, "rv.credit.score.boosted.r1")]
    batch = Batch(
        generation=Generation(1),
        first=1,
        last=2,
        last_stored_unix_us=STORED_US,
        messages=2,
        tables=score_rows(messages, declared(), {}),
    )
    with ArchiveStore(ArchiveRoot.parse(tmp_path), "default", "credit", SCORES) as store:
        store.write_batch(batch)
    with open_archive(tmp_path) as archive:
        assert archive.sql("SELECT model, row FROM scores ORDER BY 1").fetchall() == [("boosted", 0), ("logit", None)]
        assert archive.sql("SELECT model, row FROM outcomes").fetchall() == [("boosted", 0)]


def test_scores_of_unknown_parcels_are_kept_all_the_same() -> None:
    """Without their parcel, scored rows are numbered, a failed request has one row, and lateness is not known."""
    parcel = make_parcel((1, 2))
    ((_, table),) = score_rows(
        [taken(make_score(parcel, 1, failed=[1]), 1, "rv.credit.score.boosted.r")], declared(), {}
    )
    found = [(row["row"], row["late"], row["after_us"]) for row in table.to_pylist()]
    assert found == [(0, None, None), (None, None, None)]


def test_enrichers_scores_are_of_a_kind_of_their_own() -> None:
    """What answers a stage of enrichment is an enrichment, of columns that the enricher declares."""
    spec = credit_spec(
        enrichers={
            "history": {"outputs": [{"name": "past", "type": "INT64"}], "budget": "5ms", "otherwise": {"past": 0}}
        }
    )
    known = Declared()
    known.learn(spec)
    parcel = make_parcel((1,))
    score = make_score(parcel, 1, "history")
    score.outputs.CopyFrom(encode_frame({"past": np.array([3])}))
    score.stage = 1
    facts = ParcelFacts.of(parcel, STORED_US, 1)
    ((kind, table),) = score_rows([taken(score, 1, "rv.credit.score.history.r")], known, {facts.key: facts})
    (row,) = table.to_pylist()
    assert (kind, row["past"], row["stage"], row["after_us"], row["payload"]) == ("enrichments", 3, 1, 0, None)
    ((raw, rows),) = durable_rows([taken(parcel, 1, "rv.credit.raw.2")], known)
    assert (raw, rows["stage"].to_pylist()) == ("raw", [2])


def test_decisions_tell_who_answered_and_how() -> None:
    """One row a request; outputs are lists with an element for each row; an answered error is told by name."""
    parcel = make_parcel((1, 2))
    batch = make_decisions(parcel)
    failed = batch.records.add()
    failed.decision.request_id, failed.decision.rule, failed.rows = "failed", "none", 1
    failed.error.code, failed.error.message = v1.ErrorCode.ERROR_CODE_NO_ANSWER, "nobody"
    tables = through_parquet(durable_rows([taken(batch, 3, "rv.credit.decision")], declared()))
    rows = sorted((row for _, table in tables for row in table.to_pylist()), key=lambda row: row["batch_index"])
    assert [row["risk"] for row in rows] == [[0.25], [0.25, 0.25], None]
    assert [row["chosen"] for row in rows] == ["boosted", "boosted", None]
    assert [row["error_code"] for row in rows] == [None, None, "NO_ANSWER"]
    assert [arrival["status"] for arrival in rows[0]["arrivals"]] == ["scored", "pending"]
    assert [arrival["role"] for arrival in rows[0]["arrivals"]] == ["champion", "challenger"]
    assert (rows[0]["arrivals"][0]["after_ns"], rows[1]["first_row"], rows[1]["rows"]) == (900_123, 1, 2)
    assert len({schema_id(table.schema) for _, table in tables}) == 1


def test_feedback_becomes_numbers_and_texts() -> None:
    """Flags are 1 and 0, what is not given is null, and each outcome keeps its place."""
    outcomes = [
        v1.Outcome(feedback_id="f1", request_id="r", row=0, kind=v1.OutcomeKind.OUTCOME_KIND_TRUTH, flag=True),
        v1.Outcome(
            feedback_id="f2",
            key=v1.BusinessKey(name="customer", value="c1"),
            kind=v1.OutcomeKind.OUTCOME_KIND_VERDICT,
            text="",
            observed_unix_us=STORED_US,
        ),
        v1.Outcome(feedback_id="f3", request_id="r", kind=v1.OutcomeKind.OUTCOME_KIND_REWARD, number=-0.0),
    ]
    batch = v1.FeedbackBatch(outcomes=outcomes)
    ((kind, table),) = through_parquet(durable_rows([taken(batch, 5, "rv.credit.feedback")], declared()))
    names = ("feedback_id", "request_id", "row", "key_value", "kind", "number", "text", "batch_index")
    assert kind == "feedback"
    assert [tuple(row[name] for name in names) for row in table.to_pylist()] == [
        ("f1", "r", 0, None, "truth", 1.0, None, 0),
        ("f2", None, None, "c1", "verdict", None, "", 1),
        ("f3", "r", None, None, "reward", -0.0, None, 2),
    ]


MOST = 2**63 - 1
LATEST = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("budget_us", "deadline"),
    [
        (2**62, LATEST),
        (MOST, LATEST),
        (-MOST - 1, dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
        (0, dt.datetime(2025, 10, 9, 8, 53, 20, tzinfo=dt.UTC)),
    ],
)
def test_an_absurd_budget_is_a_moment_that_anybody_can_read(budget_us: int, deadline: dt.datetime) -> None:
    """A deadline is between 1970 and 9999, whatever the budget; a revision that the column cannot hold is null."""
    parcel = make_parcel((1, 2), spec_revision=2**63)
    parcel.items[1].budget_us = budget_us
    ((_, table),) = through_parquet(durable_rows([taken(parcel)], declared()))
    rows = table.to_pylist()
    assert [row["deadline_at"] for row in rows[1:]] == [deadline] * 2
    assert [row["deadline_at"] for row in rows[:1]] == [STORED_AT + dt.timedelta(microseconds=BUDGET_US)]
    assert [(row["spec_revision"], row["payload"]) for row in rows] == [(None, None)] * 3


@pytest.mark.parametrize(("sent", "kept"), [(2**63 - 1, 2**63 - 1), (2**63 + 5, None), (2**64 - 1, None)])
def test_a_number_that_a_column_cannot_hold_is_null(sent: int, kept: int | None) -> None:
    """It is never another number: a sequence beyond the column's end is not negative, a delivery not wrapped."""
    score = make_score(make_parcel((1,)), sent)
    score.delivery = 2**31
    ((_, table),) = through_parquet(score_rows([taken(score, 1, "rv.credit.score.boosted.r1")], declared(), {}))
    (row,) = table.to_pylist()
    assert (row["parcel_sequence"], row["delivery"], row["risk"]) == (kept, None, 0.5)


@pytest.mark.parametrize(
    ("sent_us", "moment"),
    [(2**62, LATEST), (MOST, LATEST), (-(2**62), dt.datetime(1, 1, 2, tzinfo=dt.UTC)), (0, None), (1, EPOCH + STEP)],
)
def test_an_absurd_moment_is_one_that_anybody_can_read(sent_us: int, moment: dt.datetime | None) -> None:
    """Times that senders say lie between the years 1 and 9999, in the scores, the decisions and the feedback."""
    parcel = make_parcel((1,))
    score, decisions = make_score(parcel, 1), make_decisions(parcel)
    score.timing.finished_unix_us = decisions.records[0].decided_unix_us = sent_us
    told = v1.FeedbackBatch(outcomes=[v1.Outcome(feedback_id="f", observed_unix_us=sent_us)])
    tables = score_rows([taken(score, 1, "rv.credit.score.boosted.r1")], declared(), {})
    durable = [taken(decisions, 1, "rv.credit.decision"), taken(told, 2, "rv.credit.feedback")]
    read = dict(through_parquet(tables + durable_rows(durable, declared())))
    for kind, name in (("scores", "finished_at"), ("decisions", "decided_at"), ("feedback", "observed_at")):
        assert read[kind][name].to_pylist() == [moment], kind


def test_names_that_are_taken_get_an_underscore() -> None:
    """Fixed columns, folders' names and earlier columns are avoided, whatever the case."""
    columns = [
        SignatureColumn(name, "FP64") for name in ("request_id", "ROW", "row", "row_", "Day", "amount", "Amount")
    ]
    assert column_names("inputs", columns) == ["request_id_", "ROW_", "row__", "row___", "Day_", "amount", "Amount_"]
    assert list(signature_of(schema_of("scores", columns)).values()) == columns


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_the_schema_of_its_table(kind: str) -> None:
    """A schema has the same id once it was written and read, lists and maps too."""
    schema = schema_of(kind, [SignatureColumn(name, told, tuple(shape)) for name, (told, shape, _) in COLUMNS.items()])
    ((_, read),) = through_parquet([(kind, schema.empty_table())])
    assert schema_id(read.schema) == schema_id(schema)
    assert has_schema_id(read.schema, schema_id(schema))
    assert not has_schema_id(read.schema.remove(3), schema_id(schema))


def test_the_cache_of_parcels_forgets_the_oldest() -> None:
    """It holds so many requests and no more."""
    cache = ParcelCache(most_requests=10)
    facts = [ParcelFacts.of(make_parcel((1, 1, 1)), STORED_US) for _ in range(5)]
    for each in facts:
        cache.add(each)
    assert list(cache.find([each.key for each in facts])) == [each.key for each in facts[-3:]]
