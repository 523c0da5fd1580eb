"""What `rendezvous replay` does: finds the history, the run and the candidate, checks that they fit, and scores."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
from rendezvous_sdk.archive.layout import replay_source
from rendezvous_sdk.archive.schema import SignatureColumn

from rendezvous_router.archive.store import ArchiveStore
from rendezvous_router.replay.errors import ReplayError
from rendezvous_router.replay.history import History
from rendezvous_router.replay.opening import OpenedCandidate, open_candidate
from rendezvous_router.replay.options import ReplayJob
from rendezvous_router.replay.replay import Replay, Totals
from rendezvous_router.replay.rows import ReplayedModel
from rendezvous_router.replay.signature import check_identity, check_inputs, check_outputs, recorded_outputs

__all__ = ["Summary", "run_job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What came of it."""

    job: ReplayJob
    """What was asked for."""
    totals: Totals
    """What was done."""
    was_resumed: bool
    """Whether the run had been begun before."""
    seconds: float
    """How long it scored."""

    def to_dict(self) -> dict[str, Any]:
        """Returns it for `--json`."""
        totals, job = self.totals, self.job
        return {
            "run": job.run_name,
            "source": replay_source(job.run_name),
            "model": job.name,
            "version": job.version,
            "tenant": job.tenant,
            "endpoint": job.endpoint,
            "archive": job.root.text,
            "resumed": self.was_resumed,
            "requests": totals.requests,
            "rows": totals.rows,
            "scored": totals.scored,
            "failed": totals.failed,
            "errors": dict(totals.errors.most_common()),
            "first_error": totals.first_error or None,
            "skipped": {"repeated_requests": totals.skipped.repeated, "unreadable_rows": totals.skipped.unreadable},
            "written": totals.written,
            "seconds": round(self.seconds, 3),
            "rows_per_s": round(totals.rows / self.seconds, 1) if self.seconds else None,
        }


async def run_job(
    job: ReplayJob,
    *,
    on_total: Callable[[int], None] = lambda _: None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Scores the history, from where the run ended.

    Args:
        job: what to do.
        on_total: called once with the rows that are left, about.
        on_progress: called with rows that were done since the last call.

    Returns:
        What was done.

    Raises:
        ReplayError: the candidate does not fit, is not there, or went away; the run exists, or is another model's.
        RendezvousError: the archive cannot be read or written, or what is to be loaded is no model.
    """
    with await asyncio.to_thread(
        ArchiveStore, job.root, job.tenant, job.endpoint, replay_source(job.run_name)
    ) as store:
        was_begun = store.last_range is not None
        await asyncio.to_thread(_check_run, job, store)
        history = _history(job, was_begun=was_begun)
        columns = await asyncio.to_thread(history.columns)
        if columns is None:
            raise ReplayError(_nothing(job))
        async with open_candidate(job) as opened:
            replay = await _fitted(job, history, columns, store, opened, on_progress)
            on_total(await asyncio.to_thread(history.count_rows, Replay.reached(store)))
            started = time.monotonic()
            totals = await replay.run()
    return Summary(job=job, totals=totals, was_resumed=was_begun, seconds=time.monotonic() - started)


def _history(job: ReplayJob, *, was_begun: bool) -> History:
    """Returns what is to be scored; a run that was begun goes on where it ended, whatever `since` says now."""
    since = 0 if was_begun else job.since_unix_us
    return History(job.root, job.tenant, job.endpoint, since_unix_us=since, until_unix_us=job.until_unix_us)


def _nothing(job: ReplayJob) -> str:
    return (
        f"the archive {job.root.text} has no inputs of endpoint {job.endpoint} in that time: see --since, --until, "
        "and whether `rendezvous archive` runs"
    )


def _check_run(job: ReplayJob, store: ArchiveStore) -> None:
    """Checks that a run may begin or go on.

    Raises:
        ReplayError: it was begun, and nobody said that it goes on; or it is of another model.
    """
    last = store.last_range
    if last is None:
        return
    if not job.resume:
        raise ReplayError(
            f"run {job.run_name} has been begun, up to sequence {last.last}: --resume goes on with it, "
            "--run-id NAME begins another"
        )
    scored = next((file for each in reversed(store.ranges) for file in store.read(each).files if file.rows), None)
    if scored is None:
        return
    with job.root.filesystem.open_input_file(job.root.at(scored.path)) as stream:
        first = pq.read_table(stream, columns=["model", "version"]).slice(0, 1).to_pylist()[0]
    if (first["model"], first["version"]) != (job.name, job.version):
        raise ReplayError(
            f"run {job.run_name} is of {first['model']}:{first['version']}, not of {job.name}:{job.version}: give "
            "another name with --run-id"
        )


async def _fitted(
    job: ReplayJob,
    history: History,
    columns: list[SignatureColumn],
    store: ArchiveStore,
    opened: OpenedCandidate,
    on_progress: Callable[[int], None],
) -> Replay:
    """Returns the replay of a candidate that fits.

    Raises:
        ReplayError: it does not.
    """
    info = await opened.candidate.describe()
    check_identity(info, job.name, job.version, opened.where)
    check_inputs(info.signature.inputs, columns, job.endpoint)
    outputs = await asyncio.to_thread(recorded_outputs, job.root, job.tenant, job.endpoint)
    recorded = [SignatureColumn.of(spec) for spec in outputs]
    check_outputs(info.signature.outputs, recorded, job.endpoint)
    model = ReplayedModel(
        name=job.name, version=job.version, run=job.run_name, replica=opened.replica, outputs=tuple(recorded)
    )
    return Replay(
        history,
        store,
        opened.candidate,
        model=model,
        outputs=outputs,
        repeats=await asyncio.to_thread(history.repeats),
        limits=job.limits,
        on_progress=on_progress,
    )
