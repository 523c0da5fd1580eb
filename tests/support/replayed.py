"""A small archive with inputs of every type, written by the archive's own code, and candidates for it."""

import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rendezvous.spec import parse_spec
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame, join_frames
from rendezvous_router.archive.messages import Declared, decode
from rendezvous_router.archive.store import ArchiveStore, Batch
from rendezvous_router.archive.tables import inputs_tables
from rendezvous_sdk import model
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot, Generation
from rendezvous_sdk.archive.schema import SignatureColumn, schema_of

SPEC: dict[str, Any] = {
    "endpoint": "sum",
    "inputs": [
        {"name": "a", "type": "FP64", "missing": True, "nan": True},
        {"name": "b", "type": "INT64", "missing": True},
        {"name": "tag", "type": "STRING", "missing": True},
        {"name": "row", "type": "FP32", "shape": [2], "missing": True, "nan": True},
        {"name": "flag", "type": "BOOL", "missing": True},
        {"name": "raw", "type": "BYTES", "missing": True},
        {"name": "half", "type": "FP16", "nan": True},
        {"name": "texts", "type": "STRING", "shape": [2]},
    ],
    "outputs": [{"name": "total", "type": "FP64", "nan": True}, {"name": "label", "type": "STRING"}],
    "models": {"first": {"role": "champion"}},
    "policy": {"deadline": "1s"},
}
STREAM = Generation(1_700_000_000_000_000, 1, 1)
START_US = 1_760_000_000_000_000
STEP_US = 1_000_000
_SIGNALLING = struct.pack("<I", 0x7FA00001)


def frame(number: int, rows: int) -> v1.Frame:
    """Returns the rows of one request: NaN with a payload, -0.0, and something missing in every column that may."""
    odd = number % 3 == 1
    table = {
        "a": np.array([number + row / 8 for row in range(rows)]),
        "b": np.arange(number, number + rows),
        "tag": [None if odd and row == 0 else f"t{number}" for row in range(rows)],
        "row": np.array([[-0.0, row] for row in range(rows)], "<f4"),
        "flag": [None if odd and row == 0 else bool(row % 2) for row in range(rows)],
        "raw": [None if odd and row == 0 else bytes([row % 256, 0, 255]) for row in range(rows)],
        "half": np.array([np.nan if odd else 0.5] * rows, "<f2"),
        "texts": [[f"{number}", ""] for _ in range(rows)],
    }
    made = encode_frame(table, types={"tag": "STRING", "raw": "BYTES", "flag": "BOOL"})
    if odd:
        shaped = next(column for column in made.columns if column.name == "row")
        shaped.values = _SIGNALLING + shaped.values[4:]
        for name in ("b", "row") if rows > 1 else ():
            column = next(column for column in made.columns if column.name == name)
            width = len(column.values) // rows
            column.values = column.values[: width * (rows - 1)] + bytes(width)
            column.missing = np.packbits(np.arange(rows) == rows - 1, bitorder="little").tobytes()
    return made


def parcel(sequence: int, requests: Sequence[tuple[str, v1.Frame]]) -> v1.Parcel:
    """Returns a parcel of some requests."""
    return v1.Parcel(
        parcel_id=f"parcel-{sequence}",
        endpoint="sum",
        router="r",
        sealed_unix_us=START_US + sequence * STEP_US,
        items=[v1.ParcelItem(request_id=name, rows=each.rows, budget_us=1000) for name, each in requests],
        inputs=join_frames([each for _, each in requests]),
    )


class Recorded:
    """An archive that is written parcel by parcel."""

    def __init__(self, folder: Path, *, endpoint: str = "sum") -> None:
        self.root = ArchiveRoot.parse(folder)
        self.folder = folder
        self.frames: dict[str, v1.Frame] = {}
        self.sequence = 0
        self.generation = STREAM
        self._endpoint = endpoint
        self._declared = Declared()
        self._declared.learn(parse_spec(SPEC))

    def write(self, parcels: int, *, requests: int = 3, extra: Sequence[bytes] = ()) -> None:
        """Writes a batch: every other request has 3 rows, the others one; then messages as they are."""
        payloads = []
        for _ in range(parcels):
            number = len(self.frames)
            asked = [(f"q{number + index}", frame(number + index, 1 + 2 * (index % 2))) for index in range(requests)]
            self.frames.update(asked)
            payloads.append(parcel(self.sequence + len(payloads) + 1, asked).SerializeToString())
        self.write_messages([*payloads, *extra])

    def write_messages(self, payloads: Sequence[bytes]) -> None:
        """Writes a batch of messages on the subject of inputs."""
        first = self.sequence + 1
        taken = [
            decode("rv.sum.input", payload, number, START_US + number * STEP_US)
            for number, payload in enumerate(payloads, first)
        ]
        self.sequence += len(payloads)
        tables = [("inputs", table) for table in inputs_tables("inputs", taken, self._declared)]
        batch = Batch(
            generation=self.generation,
            first=first,
            last=self.sequence,
            last_stored_unix_us=START_US + self.sequence * STEP_US,
            messages=len(payloads),
            tables=tables,
        )
        with ArchiveStore(self.root, "default", self._endpoint, DURABLE) as store:
            store.write_batch(batch)

    def write_scores(self) -> None:
        """Writes one live score, which tells the outputs of the endpoint."""
        schema = schema_of("scores", [SignatureColumn("total", "FP64"), SignatureColumn("label", "STRING")])
        row = dict.fromkeys(schema.names) | {
            "request_id": "q0",
            "row": 0,
            "model": "first",
            "version": "1",
            "origin": "live",
            "score_sequence": 1,
            "stored_at": START_US,
            "total": 1.0,
            "label": "live",
        }
        batch = Batch(
            generation=STREAM,
            first=1,
            last=1,
            last_stored_unix_us=START_US,
            messages=1,
            tables=[("scores", pa.Table.from_pylist([row], schema=schema))],
        )
        with ArchiveStore(self.root, "default", self._endpoint, SCORES) as store:
            store.write_batch(batch)

    def lose_end(self, begin: int) -> None:
        """The stream lost what it had from a sequence on, and gives these numbers again."""
        self.generation = Generation(self.generation.created_unix_us, self.generation.number + 1, begin)
        self.sequence = begin - 1

    def next_stream(self) -> None:
        """What comes now comes from a stream that was made anew: its sequences begin again."""
        self.generation = Generation(self.generation.created_unix_us + 1, 1, 1)
        self.sequence = 0


def total_of(table: v1.Frame) -> list[float]:
    """Returns what the candidates below give for some rows."""
    column = next(column for column in table.columns if column.name == "a")
    return [2 * value for value in np.frombuffer(column.values, "<f8").tolist()]


@model(takes="columns", outputs={"total": "FP64", "label": "STRING"}, inputs={"a": "FP64"})
def doubled(columns: dict[str, Any]) -> dict[str, Any]:
    """Doubles `a`."""
    return {"total": columns["a"] * 2, "label": ["doubled"] * len(columns["a"])}


@model(takes="columns")
def picky(columns: dict[str, Any]) -> dict[str, Any]:
    """Refuses tables with a row of which the whole part of `a` is a multiple of 5."""
    if (columns["a"] % 5 < 1).any():
        raise ValueError("a multiple of five")
    return {"total": columns["a"] * 2, "label": ["picky"] * len(columns["a"])}


@model(takes="columns", outputs={"total": "FP64", "label": "STRING"})
def leisurely(columns: dict[str, Any]) -> dict[str, Any]:
    """Takes its time, so that it can be killed meanwhile."""
    time.sleep(float(os.environ.get("REPLAYED_PAUSE_S", "0.02")))
    return {"total": columns["a"] * 2, "label": ["leisurely"] * len(columns["a"])}


@model(takes="columns", inputs={"a": "FP32", "income": "FP64"})
def greedy(columns: dict[str, Any]) -> dict[str, Any]:
    """Wants what nobody has."""
    return {"total": columns["income"], "label": [""]}


@model(takes="columns", outputs={"total": "FP64"})
def meagre(columns: dict[str, Any]) -> dict[str, Any]:
    """Gives less than the endpoint's models."""
    return {"total": columns["a"]}
