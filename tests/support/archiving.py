"""Parcels, scores and decisions as a router and models would publish them, and an archive that takes them up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rendezvous.spec import EndpointSpec, parse_spec
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import MSG_ID_HEADER, decision_subject, input_subject, score_subject
from rendezvous_router.archive.archiver import Archiver
from rendezvous_router.archive.reading import FlushLimits
from rendezvous_router.archive.verify import EndpointReport, read_stream_states, verify_endpoint
from rendezvous_router.spec_store import SpecStore
from rendezvous_router.streams import ensure_streams
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchivedFile, Entry, read_current
from rendezvous_sdk.nats_connection import Connection

QUICK = FlushLimits(messages=10, seconds=0.02)
MODELS = ("boosted", "logit")
BUDGET_US = 100_000


def credit_spec(**changes: Any) -> EndpointSpec:
    """Returns the specification of the endpoint `credit`: one FP64 in, one FP64 out, two models."""
    document = {
        "endpoint": "credit",
        "inputs": [{"name": "amount", "type": "FP64"}],
        "outputs": [{"name": "risk", "type": "FP64"}],
        "models": {"boosted": {"role": "champion"}, "logit": {"role": "challenger"}},
        "policy": {"deadline": "100ms", "steps": [{"take": "best"}], "otherwise": "error"},
    }
    return parse_spec({**document, **changes})


async def apply(client: Connection, spec: EndpointSpec) -> int:
    """Stores a specification and makes its streams, as a router would; returns its revision."""
    revision = await SpecStore(client).put(spec)
    await ensure_streams(client, spec)
    return revision


def make_parcel(rows: Sequence[int] = (1, 2), columns: Mapping[str, Any] | None = None, **fields: Any) -> v1.Parcel:
    """Returns a parcel with requests of so many rows each."""
    total = sum(rows)
    items = [v1.ParcelItem(request_id=new_id(), rows=each, budget_us=BUDGET_US) for each in rows]
    frame = encode_frame(dict(columns) if columns is not None else {"amount": [float(each) for each in range(total)]})
    return v1.Parcel(
        **{
            "parcel_id": new_id(),
            "endpoint": "credit",
            "router": "r1",
            "spec_revision": 1,
            "items": items,
            "inputs": frame,
        }
        | fields
    )


def make_score(parcel: v1.Parcel, sequence: int, model: str = "boosted", failed: Sequence[int] = ()) -> v1.ParcelScore:
    """Returns a model's score of a parcel, which fails on some of its requests."""
    items = [
        v1.ItemScore(
            request_id=item.request_id, error=v1.Error(code=v1.ErrorCode.ERROR_CODE_MODEL_FAILED, message="no")
        )
        if number in failed
        else v1.ItemScore(request_id=item.request_id, rows=item.rows)
        for number, item in enumerate(parcel.items)
    ]
    rows = sum(item.rows for item in items)
    return v1.ParcelScore(
        parcel_id=parcel.parcel_id,
        endpoint="credit",
        model=model,
        version="1",
        replica="replica",
        items=items,
        outputs=encode_frame({"risk": [0.5 + each for each in range(rows)]}) if rows else v1.Frame(),
        timing=v1.Timing(received_unix_us=1_000_001, started_unix_us=1_000_002, finished_unix_us=1_000_003),
        parcel_sequence=sequence,
        delivery=1,
    )


def make_decisions(parcel: v1.Parcel) -> v1.DecisionBatch:
    """Returns a decision for each request of a parcel."""
    first_row = 0
    records = []
    for item in parcel.items:
        decision = v1.Decision(
            request_id=item.request_id,
            endpoint="credit",
            rule="steps[0].best",
            models=["boosted"],
            spec_revision=7,
            decided_after_us=1200,
            deadline_left_us=98_800,
            reason="boosted is the best",
            arrivals=[
                v1.Arrival(
                    model="boosted",
                    version="1",
                    role=v1.Role.ROLE_CHAMPION,
                    status=v1.ArrivalStatus.ARRIVAL_STATUS_SCORED,
                    after_us=900,
                    after_ns=900_123,
                ),
                v1.Arrival(model="logit", role=v1.Role.ROLE_CHALLENGER, status=v1.ArrivalStatus.ARRIVAL_STATUS_PENDING),
            ],
        )
        records.append(
            v1.DecisionRecord(
                decision=decision,
                parcel_id=parcel.parcel_id,
                first_row=first_row,
                rows=item.rows,
                outputs=encode_frame({"risk": [0.25] * item.rows}),
                decided_unix_us=2_000_000,
                router="r1",
            )
        )
        first_row += item.rows
    return v1.DecisionBatch(records=records)


async def send_parcel(client: Connection, parcel: v1.Parcel, *, models: Sequence[str] = MODELS) -> int:
    """Publishes a parcel, its scores and its decisions; returns the parcel's sequence."""
    js = client.jetstream()
    headers = {MSG_ID_HEADER: parcel.parcel_id}
    ack = await js.publish(input_subject("credit"), parcel.SerializeToString(), headers=headers)
    for model in models:
        await js.publish(score_subject("credit", model, "r1"), make_score(parcel, ack.seq, model).SerializeToString())
    await js.publish(decision_subject("credit"), make_decisions(parcel).SerializeToString())
    return ack.seq


@contextlib.asynccontextmanager
async def archiving(
    client: Connection, folder: Path | str, limits: FlushLimits = QUICK, tenant: str = "default"
) -> AsyncIterator[Archiver]:
    """An archive's process, in this one."""
    archiver = Archiver(client, ArchiveRoot.parse(folder), tenant=tenant, limits=limits)
    task = asyncio.create_task(archiver.run())
    try:
        yield archiver
    finally:
        archiver.stop()
        await task


def entries_of(folder: Path | str, endpoint: str = "credit", tenant: str = "default") -> list[Entry]:
    """Returns the archive's current entries."""
    return read_current(ArchiveRoot.parse(folder), tenant, endpoint)


def files_of(folder: Path | str, kind: str, endpoint: str = "credit", tenant: str = "default") -> list[ArchivedFile]:
    """Returns the files of a kind."""
    return [file for entry in entries_of(folder, endpoint, tenant) for file in entry.files if file.kind == kind]


def tables_of(folder: Path, kind: str, endpoint: str = "credit", tenant: str = "default") -> list[pa.Table]:
    """Returns the files of a kind as tables."""
    return [pq.ParquetFile(folder / file.path).read() for file in files_of(folder, kind, endpoint, tenant)]


def rows_of(folder: Path, kind: str, endpoint: str = "credit", tenant: str = "default") -> list[dict[str, Any]]:
    """Returns the rows of a kind, by sequence."""
    rows = [row for table in tables_of(folder, kind, endpoint, tenant) for row in table.to_pylist()]
    name = "score_sequence" if kind in ("scores", "enrichments") else "stream_sequence"
    return sorted(rows, key=lambda row: (row[name], row.get("batch_index") or 0, row.get("request_id") or ""))


def verify(folder: Path | str, endpoint: str = "credit", tenant: str = "default") -> EndpointReport:
    """Returns what is in the archive."""
    return verify_endpoint(ArchiveRoot.parse(folder), tenant, endpoint)


async def settled(
    client: Connection, folder: Path | str, endpoint: str = "credit", tenant: str = "default"
) -> EndpointReport:
    """Waits until all that the streams have is archived, and returns the report."""
    async with asyncio.timeout(30):
        while True:
            states = await read_stream_states(client, endpoint)
            report = verify_endpoint(ArchiveRoot.parse(folder), tenant, endpoint, streams=states, deep=True)
            if report.pending == 0:
                return report
            await asyncio.sleep(0.05)


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Waits until *condition*."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - files are watched from outside
            await asyncio.sleep(0.02)
