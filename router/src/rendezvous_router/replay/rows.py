"""A replay's scores as rows of the archive's `scores`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from rendezvous_proto import v1
from rendezvous_sdk.archive.schema import SignatureColumn

from rendezvous_router.archive.columns import frame_arrays, timestamps
from rendezvous_router.archive.tables import build_table, error_name
from rendezvous_router.replay.pieces import Piece
from rendezvous_router.replay.scoring import Outcome

__all__ = ["ReplayedModel", "score_tables"]

ORIGIN = "replay"
"""`origin` of a replay's rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedModel:
    """What is the same in all rows of a run."""

    name: str
    """The model."""
    version: str
    """Its version."""
    run: str
    """The run."""
    replica: str
    """What scored: an address, or `replay` for this process."""
    outputs: tuple[SignatureColumn, ...] = ()
    """Columns of rows that have an error only."""


def score_tables(model: ReplayedModel, piece: Piece, outcomes: Sequence[Outcome]) -> list[pa.Table]:
    """Returns a piece's rows, one table for each run of outcomes that has outputs of the same columns.

    `stored_at` is now; `after_us` and `late` are null: nobody waited. `score_sequence`, the place in the run, is the
    parcel's place in the stream.
    """
    stored_us = time.time_ns() // 1000
    return [_table(model, piece, outcome, stored_us) for outcome in outcomes]


def _table(model: ReplayedModel, piece: Piece, outcome: Outcome, stored_us: int) -> pa.Table:
    keys = piece.keys.slice(outcome.start, outcome.stop - outcome.start)
    rows = keys.num_rows
    times = {
        "received_at": outcome.started_unix_us,
        "started_at": outcome.started_unix_us,
        "finished_at": outcome.finished_unix_us,
        "stored_at": stored_us,
    }
    texts = {
        "model": model.name,
        "version": model.version,
        "replica": model.replica,
        "origin": ORIGIN,
        "run": model.run,
    }
    if outcome.error is not None:
        texts |= {"error_code": error_name(outcome.error.code), "error_message": outcome.error.message}
    fixed: dict[str, pa.Array] = {name: keys[name].combine_chunks() for name in keys.column_names}
    fixed["score_sequence"] = fixed["parcel_sequence"]
    fixed |= {name: _same(pa.array([text], pa.string()), rows) for name, text in texts.items()}
    fixed |= {name: _same(timestamps([at]), rows) for name, at in times.items()}
    fixed["delivery"] = _same(pa.array([1], pa.int32()), rows)
    if outcome.outputs is None:
        return build_table("scores", model.outputs, fixed, None)
    return build_table("scores", _columns(outcome.outputs), fixed, frame_arrays([outcome.outputs]))


def _columns(frame: v1.Frame) -> tuple[SignatureColumn, ...]:
    return tuple(SignatureColumn.of(column) for column in frame.columns)


def _same(value: pa.Array, rows: int) -> pa.Array:
    return value.take(pa.array(np.zeros(rows, np.int8)))
