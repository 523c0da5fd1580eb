"""Why a request was answered as it was: the decision, and every model's answer with the time it took."""

import contextlib
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.js.errors import NotFoundError
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView, slice_frame
from rendezvous_proto.postbox import durable_stream

from rendezvous_router.record import OnProgress, find_decision, id_unix_us, read_scores
from rendezvous_router.tally import error_name

_BEFORE_US = 60 * 1_000_000
_AFTER_US = 10 * 60 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """What one model answered to one request."""

    model: str
    """The model."""
    version: str
    """Its version; empty while it has not answered."""
    role: str
    """Its role when the decision was made; empty when it was not in the specification."""
    status: str
    """`scored`, `failed`, `late` (answered after the decision) or `silent` (never answered, as far as is kept)."""
    after_ms: float | None
    """Milliseconds from the request's acceptance to its answer; None when it is silent.
    Of late answers, from the storage of the parcel to the storage of the score, by the server's clock."""
    outputs: list[dict[str, Any]]
    """Its output rows, one mapping each."""
    error: str
    """Why it failed; empty when it did not."""
    replica: str
    """Replica that answered."""
    delivery: int
    """Which delivery of the parcel it answered; above 1 a replica had died or been slow."""
    is_chosen: bool
    """Whether its score is in the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnricherAnswer:
    """What became of one enricher's columns of one request."""

    enricher: str
    """The enricher."""
    version: str
    """Its version; empty where it has not answered."""
    stage: int
    """Its stage; 0 where it has not answered."""
    status: str
    """`added`; `default` where the models saw the declared values in place of its columns; `ended` where its failure
    was the request's."""
    reason: str
    """Why not `added`: `LATE`, or the name of an error code."""
    outputs: list[dict[str, Any]]
    """The columns that it gave, in time or late, one mapping a row."""
    error: str
    """What it said of its failure; empty when it did not fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One request's decision with all that led to it."""

    endpoint: str
    """Endpoint that was asked."""
    record: v1.DecisionRecord
    """The decision as kept."""
    inputs: list[dict[str, Any]] = field(default_factory=list)
    """The request's rows as the models saw them; empty when the parcel is no longer kept."""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    """The rows that were answered; empty when the answer was an error."""
    models: list[ModelAnswer] = field(default_factory=list)
    """Every model, in the order in which they answered, silent ones last."""
    enrichers: list[EnricherAnswer] = field(default_factory=list)
    """Every enricher that was asked, by stage."""


async def explain_request(
    client: Client, request_id: str, endpoint: str | None = None, *, on_progress: OnProgress | None = None
) -> Explanation | None:
    """Returns why a request was answered as it was; None when no decision on it is kept.

    Args:
        client: connection to the nats-server.
        request_id: the request's id.
        endpoint: endpoint to look in; None: all.
        on_progress: called while it reads.

    Raises:
        InvalidRequestError: the id is malformed.
        UnavailableError: the server stopped answering.
    """
    found = await find_decision(client, request_id, endpoint, on_progress=on_progress)
    if found is None:
        return None
    everything = await _read_parcel_scores(client, found.endpoint, found.record)
    scores = [(at, score) for at, score in everything if not score.stage]
    sequence = next((score.parcel_sequence for _, score in scores), 0)
    parcel, stored_us = await _read_parcel(client, found.endpoint, sequence)
    record = found.record
    inputs = v1.Frame() if parcel is None else _find_inputs(parcel, request_id)
    return Explanation(
        endpoint=found.endpoint,
        record=record,
        inputs=_rows(inputs),
        outputs=_rows(record.outputs),
        models=_answers(record, scores, stored_us),
        enrichers=_enrichers(record, parcel, [score for _, score in everything if score.stage]),
    )


async def _read_parcel_scores(
    client: Client, endpoint: str, record: v1.DecisionRecord
) -> list[tuple[int, v1.ParcelScore]]:
    sealed_us = id_unix_us(record.parcel_id) or record.decided_unix_us
    all_scores = read_scores(client, endpoint, max(0, sealed_us - _BEFORE_US), sealed_us + _AFTER_US)
    async with contextlib.aclosing(all_scores):
        return [(at, score) async for at, score in all_scores if score.parcel_id == record.parcel_id]


async def _read_parcel(client: Client, endpoint: str, sequence: int) -> tuple[v1.Parcel | None, int]:
    if not sequence:
        return None, 0
    try:
        raw = await client.jetstream().get_msg(durable_stream(endpoint), seq=sequence)
    except NotFoundError:
        return None, 0
    stored_us = int(raw.time.timestamp() * 1_000_000) if raw.time is not None else 0
    return v1.Parcel.FromString(raw.data or b""), stored_us


def _find_inputs(parcel: v1.Parcel, request_id: str) -> v1.Frame:
    """Returns a request's rows; none where an enricher ended it, so that the models' parcel is without it."""
    start = 0
    for item in parcel.items:
        if item.request_id == request_id:
            fits = 0 < item.rows <= parcel.inputs.rows - start
            return slice_frame(parcel.inputs, start, start + item.rows) if fits else v1.Frame()
        start += item.rows
    return v1.Frame()


def _answers(
    record: v1.DecisionRecord, scores: list[tuple[int, v1.ParcelScore]], parcel_stored_us: int
) -> list[ModelAnswer]:
    first: dict[str, tuple[int, v1.ParcelScore]] = {}
    for at, score in scores:
        first.setdefault(score.model, (at, score))
    arrivals = {arrival.model: arrival for arrival in record.decision.arrivals}
    answers = [
        _answer(record, arrivals.get(name), name, first.get(name), parcel_stored_us)
        for name in dict.fromkeys((*arrivals, *first))
    ]
    return sorted(answers, key=lambda answer: (answer.after_ms is None, answer.after_ms or 0.0))


def _answer(
    record: v1.DecisionRecord,
    arrival: v1.Arrival | None,
    name: str,
    stored: tuple[int, v1.ParcelScore] | None,
    parcel_stored_us: int,
) -> ModelAnswer:
    in_time = arrival is not None and arrival.status != v1.ArrivalStatus.ARRIVAL_STATUS_PENDING
    item, frame = _find_item(stored[1], record.decision.request_id) if stored else (None, v1.Frame())
    error = item.error.message if item is not None and item.HasField("error") else ""
    if in_time and arrival is not None:
        status = "scored" if arrival.status == v1.ArrivalStatus.ARRIVAL_STATUS_SCORED else "failed"
        after_ms: float | None = arrival.after_us / 1000
        error = arrival.error.message or error
    elif stored is not None and item is not None:
        status = "late"
        after_ms = (stored[0] - parcel_stored_us) / 1000 if parcel_stored_us else None
    else:
        status, after_ms = "silent", None
    score = stored[1] if stored and status != "silent" else v1.ParcelScore()
    role = v1.Role.Name(arrival.role).removeprefix("ROLE_").lower() if arrival is not None else ""
    return ModelAnswer(
        model=name,
        version=score.version or (arrival.version if arrival is not None else ""),
        role="" if role == "unspecified" else role,
        status=status,
        after_ms=after_ms,
        outputs=_rows(frame),
        error=error,
        replica=score.replica,
        delivery=score.delivery,
        is_chosen=name in record.decision.models,
    )


def _enrichers(
    record: v1.DecisionRecord, parcel: v1.Parcel | None, scores: list[v1.ParcelScore]
) -> list[EnricherAnswer]:
    rule, _, ended_by = record.decision.rule.partition(".")
    ended_by = ended_by if rule == "enrichers" else ""
    reasons = _noted_reasons(record, parcel)
    first = {score.model: score for score in reversed(scores)}
    names = dict.fromkeys((*reasons, *first, *([ended_by] if ended_by else ())))
    answers = [_enricher(record, name, first.get(name), reasons.get(name, ""), ended_by == name) for name in names]
    return sorted(answers, key=lambda answer: answer.stage)


def _noted_reasons(record: v1.DecisionRecord, parcel: v1.Parcel | None) -> dict[str, str]:
    """Returns why an enricher's columns are defaults, by enricher; empty where they are its own."""
    reasons: dict[str, str] = {}
    for item in () if parcel is None else parcel.items:
        for noted in item.provenance if item.request_id == record.decision.request_id else ():
            how, _, name = noted.component.partition(":")
            if how in {"enricher", "default"}:
                reasons[name] = noted.version if how == "default" else ""
    return reasons


def _enricher(
    record: v1.DecisionRecord, name: str, score: v1.ParcelScore | None, reason: str, has_ended_it: bool
) -> EnricherAnswer:
    score = score or v1.ParcelScore()
    item, frame = _find_item(score, record.decision.request_id)
    error = item.error if item is not None and item.HasField("error") else None
    if error is not None:
        reason = reason or error_name(error.code)
    return EnricherAnswer(
        enricher=name,
        version=score.version,
        stage=score.stage,
        status="ended" if has_ended_it else "default" if reason else "added",
        reason=reason or ("LATE" if has_ended_it else ""),
        outputs=_rows(frame),
        error=error.message if error is not None else "",
    )


def _find_item(score: v1.ParcelScore, request_id: str) -> tuple[v1.ItemScore | None, v1.Frame]:
    start = 0
    for item in score.items:
        if item.request_id == request_id:
            fits = 0 < item.rows <= score.outputs.rows - start
            return item, slice_frame(score.outputs, start, start + item.rows) if fits else v1.Frame()
        start += item.rows
    return None, v1.Frame()


def _rows(frame: v1.Frame) -> list[dict[str, Any]]:
    return FrameView(frame).to_records() if frame.rows else []
