"""Small archives made by hand: batches with rows of every kind, in a folder or on an object store."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector
from rendezvous_router.archive.store import ArchiveStore, Batch
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot, Generation
from rendezvous_sdk.archive.manifest import Entry, read_current
from rendezvous_sdk.archive.schema import SignatureColumn, schema_of

TENANT = "default"
ENDPOINT = "credit"
GENERATION = Generation(1_700_000_000_000_000)
DAY_US = 86_400_000_000
START_US = int(dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC).timestamp()) * 1_000_000
INPUTS = (SignatureColumn("customer_id", "INT64"), SignatureColumn("amount", "FP64"))
OUTPUTS = (SignatureColumn("risk", "FP64"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRequest:
    """A request of such an archive."""

    request_id: str
    customers: Sequence[int]
    """Column `customer_id`, one for each row."""
    context: dict[str, str] = field(default_factory=dict)
    at_us: int = START_US
    """When it was stored."""
    amounts: Sequence[Any] | None = None
    """Column `amount`; None: the rows' numbers."""


@dataclass(slots=True)
class MadeArchive:
    """Writes batches: each request makes an input and a decision, and a score of one model."""

    root: ArchiveRoot
    sequence: int = 0
    score_sequence: int = 0
    inputs: Sequence[SignatureColumn] = INPUTS

    @classmethod
    def at(cls, root: str | Path, inputs: Sequence[SignatureColumn] = INPUTS) -> "MadeArchive":
        """Returns one that writes there, with such inputs."""
        return cls(ArchiveRoot.parse(root), inputs=inputs)

    def add(self, *requests: MadeRequest) -> None:
        """Writes requests as one batch of each source: parcels of one request, then a decision of each."""
        inputs = [row for place, each in enumerate(requests) for row in _inputs(each, self.sequence + 1 + place)]
        first = self.sequence + 1
        self.sequence += len(requests)
        decisions = [_decision(each, self.sequence + 1 + place) for place, each in enumerate(requests)]
        self.sequence += len(requests)
        tables = [
            ("inputs", _table("inputs", self.inputs, inputs)),
            ("decisions", _table("decisions", OUTPUTS, decisions)),
        ]
        self._write(DURABLE, first, self.sequence, tables, requests)
        first_score = self.score_sequence + 1
        self.score_sequence += len(requests)
        scores = [row for place, each in enumerate(requests) for row in _scores(each, first_score + place)]
        self._write(SCORES, first_score, self.score_sequence, [("scores", _table("scores", OUTPUTS, scores))], requests)

    def add_feedback(self, *outcomes: dict[str, Any]) -> None:
        """Writes outcomes, given as columns of `feedback`, as one batch."""
        first = self.sequence + 1
        self.sequence += len(outcomes)
        rows = [
            {"stored_at": START_US, "stream_sequence": first + place, "batch_index": 0, **each}
            for place, each in enumerate(outcomes)
        ]
        self._write(DURABLE, first, self.sequence, [("feedback", _table("feedback", (), rows))], ())

    def _write(
        self,
        source: str,
        first: int,
        last: int,
        tables: list[tuple[str, pa.Table]],
        requests: Sequence[MadeRequest],
    ) -> None:
        batch = Batch(
            generation=GENERATION,
            first=first,
            last=last,
            last_stored_unix_us=max((each.at_us for each in requests), default=START_US),
            messages=last - first + 1,
            tables=tables,
        )
        with ArchiveStore(self.root, TENANT, ENDPOINT, source) as store:
            store.write_batch(batch)

    @property
    def entries(self) -> list[Entry]:
        """The current entries."""
        return read_current(self.root, TENANT, ENDPOINT)

    def rows(self, kind: str, *columns: str) -> list[tuple[Any, ...]]:
        """Returns columns of all rows of a kind, in the order of their entries."""
        rows: list[tuple[Any, ...]] = []
        for file in (file for entry in self.entries for file in entry.files if file.kind == kind):
            with self.root.filesystem.open_input_file(self.root.at(file.path)) as stream:
                table = pq.ParquetFile(stream).read(columns=list(columns))
            assert table.num_rows == file.rows
            rows += zip(*(table[name].to_pylist() for name in columns), strict=True)
        return rows

    def files(self) -> set[str]:
        """Returns the paths of all Parquet files that are there, named or not, from the root."""
        found = self.root.filesystem.get_file_info(FileSelector(self.root.path, recursive=True, allow_not_found=True))
        return {each.path[len(self.root.path) + 1 :] for each in found if each.path.endswith(".parquet")}

    def named(self) -> set[str]:
        """Returns the paths that current entries name."""
        return {file.path for entry in self.entries for file in entry.files}


def _table(kind: str, columns: Sequence[SignatureColumn], rows: Iterable[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema_of(kind, columns))


def _inputs(request: MadeRequest, sequence: int) -> list[dict[str, Any]]:
    amounts = request.amounts or [float(row) for row in range(len(request.customers))]
    return [
        {
            "request_id": request.request_id,
            "row": row,
            "rows": len(request.customers),
            "parcel_id": f"p{sequence}",
            "stream_sequence": sequence,
            "stored_at": request.at_us,
            "context": list(request.context.items()),
            "customer_id": customer,
            "amount": amount,
        }
        for row, (customer, amount) in enumerate(zip(request.customers, amounts, strict=True))
    ]


def _decision(request: MadeRequest, sequence: int) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "rows": len(request.customers),
        "stored_at": request.at_us,
        "stream_sequence": sequence,
        "batch_index": 0,
        "risk": [float(customer) for customer in request.customers],
    }


def _scores(request: MadeRequest, sequence: int) -> list[dict[str, Any]]:
    return [
        {
            "request_id": request.request_id,
            "row": row,
            "model": "boosted",
            "stored_at": request.at_us,
            "score_sequence": sequence,
            "risk": float(customer),
        }
        for row, customer in enumerate(request.customers)
    ]
