"""Archives made up by the contract, written through the archive's own store: no server, any size, the same each time.

```python
made = write_archive(tmp_path / "archive", ArchivePlan(requests=1000, models=TRIO, truth=0.5))
made.rows["scores"]
```
"""

import datetime as dt
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rendezvous_router.archive.store import ArchiveStore, Batch
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot, Generation, replay_source
from rendezvous_sdk.archive.schema import SignatureColumn

from tests.support import archive_tables as tables
from tests.support.archive_tables import Requests, Scored

__all__ = ["INPUTS", "OUTPUTS", "TRIO", "ArchivePlan", "MadeArchive", "ModelPlan", "write_archive"]

INPUTS = tables.INPUTS
OUTPUTS = tables.OUTPUTS
_GENERATION = Generation(1_700_000_000_000_000)
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """How one made-up model behaves."""

    name: str
    """Its name."""
    version: str = "1"
    """Its version."""
    role: str = "challenger"
    """Its role."""
    noise: float = 0.3
    """Standard deviation of its error, on the scale of log-odds."""
    median_ms: float = 5.0
    """Half of its scores come sooner."""
    spread: float = 0.5
    """Standard deviation of the logarithm of its time."""
    failed: float = 0.0
    """Share of requests on which it fails."""
    silent: float = 0.0
    """Share of requests on which it never answers."""


TRIO = (
    ModelPlan(name="boosted", version="3", role="champion", noise=0.2, median_ms=20.0, failed=0.01),
    ModelPlan(name="logit", noise=0.5, median_ms=4.0),
    ModelPlan(name="tree", version="2", noise=0.9, median_ms=40.0, spread=0.8, silent=0.02),
)
"""A slow good champion that fails now and then, a quick fair challenger, a poor one that is late or silent at times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePlan:
    """What an archive is to hold. Shares are of requests, from 0 to 1."""

    endpoint: str = "credit"
    """Name of the endpoint."""
    tenant: str = "default"
    """Name of the tenant."""
    requests: int = 1000
    """Requests, repeats not counted."""
    rows: int = 1
    """Rows of each request."""
    models: tuple[ModelPlan, ...] = TRIO
    """The models, in the policy's order of preference."""
    days: float = 2.0
    """Days over which the requests spread, evenly."""
    end: dt.datetime = dt.datetime(2026, 3, 15, 12, tzinfo=dt.UTC)
    """When the last of them was stored."""
    deadline_ms: float = 100.0
    """The policy's deadline."""
    batch_requests: int = 10_000
    """Requests of one batch, so of one file of each kind."""
    truth: float = 0.0
    """Share whose truth is known: a third each by request and row, by request, and by the context's `case_id`."""
    corrections: float = 0.0
    """Share of the truths of which a wrong one, observed before, is there too; half of those stored after the right."""
    rewards: float = 0.0
    """Share with a reward."""
    verdicts: float = 0.0
    """Share with a verdict."""
    repeats: float = 0.0
    """Share that came twice, in another parcel of another router, and was decided twice."""
    redelivered: float = 0.0
    """Share whose parcel was scored twice by every model."""
    replayed: tuple[ModelPlan, ...] = ()
    """Models that scored all of it later, in the run `nightly`."""
    new_schema: bool = False
    """The second half has another signature: `age` came, `phone` went, `duration_months` is FP64 instead of INT64."""
    enriched: bool = False
    """There is `raw` beside `inputs`, which has `history` more, and an enricher `bureau` with its scores."""
    seed: int = 1
    """Of everything random."""


@dataclass(slots=True)
class MadeArchive:
    """What was written."""

    root: str
    """The archive."""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows written, by kind."""
    chosen: dict[str, int] = field(default_factory=dict)
    """First decisions, by the model that was chosen; `-` for none."""
    known: int = 0
    """Requests whose truth is known."""
    first_us: int = 0
    """When the first request was stored."""
    last_us: int = 0
    """When the last one was."""

    def _add(self, kind: str, table: pa.Table) -> tuple[str, pa.Table]:
        self.rows[kind] = self.rows.get(kind, 0) + table.num_rows
        return kind, table


def write_archive(root: str | Path, plan: ArchivePlan | None = None) -> MadeArchive:
    """Writes an archive, or one more endpoint into one.

    Args:
        root: folder or URL.
        plan: what it is to hold; None: the defaults.

    Returns:
        What was written.
    """
    plan = plan or ArchivePlan()
    opened = ArchiveRoot.parse(root)
    made = MadeArchive(str(root))
    sources = [DURABLE, SCORES, *([replay_source("nightly")] if plan.replayed else [])]
    writers = [_Writer(ArchiveStore(opened, plan.tenant, plan.endpoint, source)) for source in sources]
    try:
        for first in range(0, plan.requests, plan.batch_requests):
            _write_part(plan, first, writers, made)
    finally:
        for writer in writers:
            writer.store.close()
    return made


class _Writer:
    """Writes batches of one source, with sequences that follow one another."""

    def __init__(self, store: ArchiveStore) -> None:
        self.store = store
        self.generation = Generation(0) if store.source.startswith("replay") else _GENERATION
        self.next = 1

    def write(self, messages: int, stored_us: int, *parts: tuple[str, pa.Table]) -> None:
        """Writes a batch of so many messages, the last of them stored then."""
        batch = Batch(
            generation=self.generation,
            first=self.next,
            last=self.next + messages - 1,
            last_stored_unix_us=stored_us,
            messages=messages,
            tables=[(kind, table) for kind, table in parts if table.num_rows],
        )
        self.store.write_batch(batch)
        self.next += messages


def _write_part(plan: ArchivePlan, first: int, writers: list[_Writer], made: MadeArchive) -> None:
    count = min(plan.batch_requests, plan.requests - first)
    rng = np.random.default_rng([plan.seed, first])
    signature = _signature(plan, first)
    requests = Requests.make(rng, first=first, count=count, rows=plan.rows, stored_us=_times(plan, first, count))
    requests = replace(requests, parcels_from=writers[0].next)
    made.first_us = made.first_us or int(requests.stored_us[0])
    made.last_us = int(requests.stored_us[-1])
    scored = [Scored.make(rng, requests, model, plan.deadline_ms) for model in plan.models]
    after = writers[0].next + requests.parcels + requests.decision_batches
    again = replace(requests.some(rng, plan.repeats).repeated(), parcels_from=after)
    scored_again = [Scored.make(rng, again, model, plan.deadline_ms) for model in plan.models]
    _write_durable(plan, signature, writers[0], made, rng, ((requests, scored), (again, scored_again)))
    _write_scores(plan, writers[1], made, rng, ((requests, scored), (again, scored_again)))
    if plan.replayed:
        now_us = int(plan.end.timestamp() * 1e6) + _DAY_US
        parts = [Scored.make(rng, requests, model, plan.deadline_ms) for model in plan.replayed]
        found = [tables.scores(requests, each, replayed_us=now_us, sequence=writers[2].next) for each in parts]
        writers[2].write(requests.parcels * len(parts), now_us, made._add("scores", pa.concat_tables(found)))


def _signature(plan: ArchivePlan, first: int) -> tuple[SignatureColumn, ...]:
    is_new = plan.new_schema and first * 2 >= plan.requests
    return tables.NEW_INPUTS if is_new else INPUTS


def _times(plan: ArchivePlan, first: int, count: int) -> "np.ndarray[Any, Any]":
    end_us = int(plan.end.timestamp() * 1e6)
    step = plan.days * _DAY_US / max(plan.requests, 1)
    numbers = np.arange(first, first + count)
    parcels = numbers - (numbers - first) % tables.PARCEL_REQUESTS  # what travels together is stored at once
    return (end_us - (plan.requests - 1 - parcels) * step).astype(np.int64)


_Sent = tuple[Requests, list[Scored]]


def _write_durable(
    plan: ArchivePlan,
    signature: tuple[SignatureColumn, ...],
    writer: _Writer,
    made: MadeArchive,
    rng: np.random.Generator,
    sent: tuple[_Sent, ...],
) -> None:
    sequence = writer.next
    parts = []
    for requests, scored in sent:
        if not requests.count:
            continue
        inputs = tables.inputs(requests, signature, plan.deadline_ms, sequence, enriched=plan.enriched)
        parts.append(made._add("inputs", inputs))
        if plan.enriched:
            parts.append(made._add("raw", tables.inputs(requests, signature, plan.deadline_ms, sequence)))
        sequence += requests.parcels
        decisions, chosen = tables.decisions(requests, scored, plan.deadline_ms, sequence)
        parts.append(made._add("decisions", decisions))
        sequence += requests.decision_batches
        if not requests.is_repeat:
            for name, number in chosen.items():
                made.chosen[name] = made.chosen.get(name, 0) + number
    requests = sent[0][0]
    feedback, known = tables.feedback(rng, requests, plan, sequence)
    made.known += known
    messages = sequence - writer.next + feedback.num_rows
    writer.write(messages, int(requests.stored_us[-1]), *parts, made._add("feedback", feedback))


def _write_scores(
    plan: ArchivePlan, writer: _Writer, made: MadeArchive, rng: np.random.Generator, sent: tuple[_Sent, ...]
) -> None:
    sequence = writer.next
    parts = []
    for requests, scored in sent:
        for each in scored if requests.count else ():
            parts.append(tables.scores(requests, each, sequence=sequence))
            sequence += requests.parcels
    twice = sent[0][0].mask(rng, plan.redelivered)
    for each in sent[0][1] if twice.any() else ():
        parts.append(tables.scores(sent[0][0], each.only(twice), sequence=sequence, delivery=2))
        sequence += sent[0][0].parcels
    found = [made._add("scores", pa.concat_tables(parts))]
    if plan.enriched:
        bureau = Scored.make(rng, sent[0][0], ModelPlan(name="bureau", noise=0.0, median_ms=1.0), plan.deadline_ms)
        found.append(made._add("enrichments", tables.enrichments(sent[0][0], bureau, sequence)))
        sequence += sent[0][0].parcels
    writer.write(sequence - writer.next, int(sent[0][0].stored_us[-1]), *found)
