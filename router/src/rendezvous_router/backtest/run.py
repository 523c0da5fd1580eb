"""One backtest, from the archive to its result."""

import contextlib
import datetime as dt
import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rendezvous.backtest import BacktestSummary
from rendezvous.spec import ColumnSpec, EndpointSpec
from rendezvous_sdk.archive.reader import Archive, open_archive

from rendezvous_router.backtest.policies import Policies, PolicyFileError
from rendezvous_router.backtest.quality import Positive, Quality
from rendezvous_router.backtest.reading import Record

__all__ = ["Asked", "BacktestResult", "run_backtest"]

OnProgress = Callable[[int, int], None]
"""Called with the requests decided and the requests in the record."""

_REPORT_EVERY = 1000
_COLLECT_EVERY = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be tried on what."""

    root: str
    """The archive: a folder or URL."""
    tenant: str
    """Whose record."""
    endpoint: str
    """The endpoint."""
    since: dt.datetime | None = None
    """First moment, by the broker's clock; None: from the beginning."""
    until: dt.datetime | None = None
    """First moment that is left out; None: to the end."""
    document: Mapping[str, Any] | None = None
    """The policy, of `read_policy`; None: each request's own."""
    margin_s: float = 0.005
    """What the routers keep back from a deadline."""
    positive: Positive | None = None
    """What makes a row a positive one."""
    samples: int = 10
    """Changed answers that are shown."""


@dataclass(slots=True, kw_only=True)
class BacktestResult:
    """What came of a backtest."""

    asked: Asked
    """What was tried on what."""
    summary: BacktestSummary
    """What did happen, and what would have."""
    quality: dict[str, dict[str, dict[str, float | int]]]
    """Measures by side (`recorded`, `tried`), output and name; empty where no truth is known."""
    revisions: dict[int, int]
    """Requests by the revision of the specification that decided them."""
    misfits: dict[int, str] = field(default_factory=dict)
    """Revisions whose requests could not be decided anew, and why."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Decisions left out, by reason: `repeats`, `without_scores`, `misfits`."""
    rounded: int = 0
    """Requests whose times the record has in microseconds only."""
    never_scored: list[str] = field(default_factory=list)
    """Models of the policy that never scored these requests."""


def run_backtest(asked: Asked, *, on_progress: OnProgress | None = None) -> BacktestResult:
    """Decides the recorded requests anew.

    Args:
        asked: what is to be tried on what.
        on_progress: called now and then.

    Raises:
        PolicyFileError: there is nothing to try the policy on, it does not fit, or is another endpoint's.
        ArchiveError, UnknownEndpointError: as of `open_archive`.
    """
    meant = (asked.document or {}).get("endpoint", asked.endpoint)
    if meant != asked.endpoint:
        raise PolicyFileError(
            f"the file is about endpoint {meant}, and the record asked for is that of {asked.endpoint}"
        )
    with open_archive(asked.root, tenant=asked.tenant, endpoint=asked.endpoint) as whole:
        policies = Policies(whole, asked.document, margin_s=asked.margin_s)
    span = {"since": asked.since, "until": asked.until}
    with open_archive(asked.root, tenant=asked.tenant, endpoint=asked.endpoint, **span) as archive:
        outputs = _outputs(archive, policies)
        record = Record(archive, outputs, _truths(archive, outputs))
        if not record.requests:
            raise PolicyFileError(f"the record of endpoint {asked.endpoint} has no decision of that time")
        with _rare_collections():
            return _decide(asked, policies, record, outputs, on_progress)


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Has the garbage collector look seldom: a piece's many small values hold no cycles, and looking takes a third."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _decide(
    asked: Asked,
    policies: Policies,
    record: Record,
    outputs: list[ColumnSpec],
    on_progress: OnProgress | None,
) -> BacktestResult:
    summary = BacktestSummary(asked.samples)
    before, after = Quality(outputs, asked.positive), Quality(outputs, asked.positive)
    revisions: Counter[int] = Counter()
    tried: EndpointSpec | None = None
    misfits = 0
    for done, found in enumerate(record.read(policies), 1):
        if on_progress is not None and not done % _REPORT_EVERY:
            on_progress(done, record.requests)
        trial = policies.trial(found.spec)
        if trial is None:
            misfits += 1
            continue
        tried = trial.spec
        verdict = trial.decide(found.request)
        summary.add(found.request, verdict)
        revisions[found.spec.revision] += 1
        if found.truths:
            if found.request.decided.columns is not None:
                before.add(found.request.decided.columns, found.truths)
            if verdict.columns is not None:
                after.add(verdict.columns, found.truths)
    quality = {"recorded": before.measures(), "tried": after.measures()}
    return BacktestResult(
        asked=asked,
        summary=summary,
        quality=quality if any(quality.values()) else {},
        revisions=dict(sorted(revisions.items())),
        misfits=policies.misfits,
        left_out={"repeats": record.repeats, "without_scores": record.without_scores, "misfits": misfits},
        rounded=record.rounded,
        never_scored=summary.never_scored(tried) if tried is not None else [],
    )


def _outputs(archive: Archive, policies: Policies) -> list[ColumnSpec]:
    """Returns the signature's outputs: the newest policy's, which the record must have.

    Raises:
        PolicyFileError: the record has no such output.
    """
    if not policies.outputs:
        raise PolicyFileError("the record does not hold the endpoint's specification: give a whole endpoint file")
    kept = {column for (column, *_) in archive.sql("DESCRIBE decisions").fetchall()}
    outputs = policies.outputs
    missing = [each.name for each in outputs if each.name not in kept and f"{each.name}_" not in kept]
    if missing:
        raise PolicyFileError(f"the record has no output {', '.join(missing)}: a backtest needs the recorded outputs")
    return outputs


def _truths(archive: Archive, outputs: list[ColumnSpec]) -> dict[str, str]:
    """Returns columns with the truth, by output; empty where no feedback is kept."""
    if not archive.files("feedback"):
        return {}
    columns = {column for (column, *_) in archive.sql("DESCRIBE answers").fetchall()}
    return {each.name: f"truth_{each.name}" for each in outputs if f"truth_{each.name}" in columns}
