"""What a backtest asks of the record, as SQL over the views of `open_archive`."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

from rendezvous.spec import ColumnSpec
from rendezvous_sdk.archive.schema import SignatureColumn, column_names
from rendezvous_sdk.archive.sql_text import moment, name, text

from rendezvous_router.backtest.pieces import Piece

__all__ = ["PIECE", "asked_inputs", "asked_scores", "columns_of", "decisions_of", "make_piece", "repeated_requests"]

PIECE = "backtest_piece"
"""The table of the decisions of the piece that is being read."""

# By how long, seconds, the clock that made parcels' ids may differ from the broker's, and a score may be late.
_CLOCKS_S = 120
_LATE_S = 180

_DECISION = (
    "request_id", "parcel_id", "rule", "models", "spec_revision", "router", "decided_after_us", "decided_after_ns",
    "due_after_ns", "budget_ns", "deadline_left_us", "error_code", "rows", "stream_sequence", "batch_index", "arrivals",
)  # fmt: skip

# A score that the signature's columns cannot hold.
_MISFIT = "CASE WHEN s.payload IS NOT NULL THEN 'INVALID_OUTPUT' END"


def columns_of(kind: str, outputs: Sequence[ColumnSpec]) -> list[str]:
    """Returns under which names the record has outputs, in their order."""
    return column_names(kind, [SignatureColumn.of(column) for column in outputs])


def make_piece(piece: Piece, outputs: Sequence[ColumnSpec]) -> str:
    """Returns what makes the table `PIECE`: a piece's decisions, numbered in the order in which they were made."""
    given = ", ".join([*map(name, _DECISION), *map(name, columns_of("decisions", outputs))])
    since, until = (moment(dt.datetime.fromtimestamp(second, dt.UTC)) for second in (piece.first_s, piece.end_s))
    return (
        f"CREATE OR REPLACE TEMP TABLE {PIECE} AS SELECT row_number() OVER (ORDER BY stream_sequence, batch_index) - 1 "  # noqa: S608 # quoted
        f"AS n, {given} FROM decisions WHERE stored_at >= {since} AND stored_at < {until}"
    )


def decisions_of() -> str:
    """Returns what reads that table."""
    return f"SELECT * FROM {PIECE} ORDER BY n"  # noqa: S608 # a constant


def asked_inputs(parcels: tuple[str, str], sealed_s: tuple[float, float]) -> str:
    """Returns what reads how the piece's requests were asked.

    Args:
        parcels: the first and the last id of its parcels, by which files are passed over.
        sealed_s: when these were sealed, seconds since 1970-01-01 UTC, for the same.
    """
    return (
        "SELECT p.n, i.context, i.force_model, epoch_us(i.stored_at) AS stored_us, epoch_us(i.deadline_at) AS due_us "  # noqa: S608 # quoted
        f"FROM inputs i JOIN {PIECE} p ON i.request_id = p.request_id AND i.parcel_id = p.parcel_id "
        f"WHERE i.row = 0 AND {_within(parcels, sealed_s, 'i', _CLOCKS_S)} ORDER BY p.n, i.stream_sequence"
    )


def asked_scores(
    outputs: Sequence[ColumnSpec], kept: Collection[str], parcels: tuple[str, str], sealed_s: tuple[float, float]
) -> str:
    """Returns what reads the live scores of the piece's requests, those of a request together.

    Args:
        outputs: the signature's outputs.
        kept: columns that the record's scores have: none of the outputs where no model ever scored. Others are null.
        parcels: as of `asked_inputs`.
        sealed_s: the same.
    """
    columns = columns_of("scores", outputs)
    given = "".join(f", {f's.{name(each)}' if each in kept else f'NULL AS {name(each)}'}" for each in columns)
    return (
        f"SELECT p.n, s.model, s.version, coalesce(s.error_code, {_MISFIT}) AS error_code, s.error_message, "  # noqa: S608 # quoted
        "s.after_us, s.score_sequence, s.delivery"
        f"{given} FROM scores s JOIN {PIECE} p ON s.request_id = p.request_id AND s.parcel_id = p.parcel_id "
        f"WHERE s.origin = 'live' AND {_within(parcels, sealed_s, 's', _CLOCKS_S + _LATE_S)} "
        "ORDER BY p.n, s.score_sequence, s.delivery, s.row"
    )


def repeated_requests() -> str:
    """Returns what reads the ids of requests that were decided more than once: at two routers, say."""
    hashes = "SELECT hash(request_id) FROM decisions GROUP BY ALL HAVING count(*) > 1"
    return f"SELECT DISTINCT request_id FROM decisions WHERE hash(request_id) IN ({hashes})"  # noqa: S608 # constants


def truths_of(columns: Mapping[str, str]) -> str:
    """Returns what reads the truth about the piece's requests, from the table that `keep_truths` makes.

    Args:
        columns: columns with the truth, by the output that it is about.
    """
    given = "".join(f", t.{name(column)}" for column in columns.values())
    return (
        f"SELECT p.n, t.row{given} FROM {TRUTHS} t JOIN {PIECE} p ON t.request_id = p.request_id "  # noqa: S608 # quoted
        "ORDER BY p.n, t.row"
    )


TRUTHS = "backtest_truths"
"""The table of what is known of requests."""


def keep_truths(columns: Mapping[str, str]) -> str:
    """Returns what makes the table `TRUTHS`; arguments as of `truths_of`."""
    given = ", ".join(map(name, columns.values()))
    known = " OR ".join(f"{name(column)} IS NOT NULL" for column in columns.values())
    return f"CREATE OR REPLACE TEMP TABLE {TRUTHS} AS SELECT request_id, row, {given} FROM answers WHERE {known}"  # noqa: S608 # quoted


def _within(parcels: tuple[str, str], sealed_s: tuple[float, float], table: str, late_s: float) -> str:
    first, last = (dt.datetime.fromtimestamp(second, dt.UTC) for second in sealed_s)
    since, until = moment(first - dt.timedelta(seconds=_CLOCKS_S)), moment(last + dt.timedelta(seconds=late_s))
    return (
        f"{table}.parcel_id BETWEEN {text(parcels[0])} AND {text(parcels[1])} "
        f"AND {table}.stored_at BETWEEN {since} AND {until}"
    )
