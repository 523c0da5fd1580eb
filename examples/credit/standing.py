"""How the models stand, computed from the record: the streams that hold every request, score and decision."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from nats.aio.client import Client
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView
from rendezvous_router.record import read_decisions, read_parcels, read_scores
from sklearn.metrics import roc_auc_score


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's score of one request with one row."""

    default_probability: float
    label: str
    after_ms: float
    """From the moment when the postbox stored the request to the one when it stored the score."""
    is_late: bool
    """Whether it came after the request's deadline."""


@dataclass(slots=True)
class Record:
    """What the streams hold of the requests that were asked for."""

    scores: dict[str, dict[str, Scored]] = field(default_factory=lambda: defaultdict(dict))
    """By model, then by request id."""
    decisions: dict[str, v1.Decision] = field(default_factory=dict)
    """By request id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One row of the table."""

    model: str
    answered: int
    """Requests that it scored."""
    won: int
    """Requests whose answer was its own."""
    late: int
    """Scores that came after the deadline."""
    p50_ms: float
    p99_ms: float
    auc: float
    """Area under the ROC curve: 0.5 is chance, 1 is perfect."""
    agreement: float
    """Share of its labels that are the champion's too."""


async def read_record(client: Client, endpoint: str, request_ids: frozenset[str]) -> Record:
    """Reads parcels, scores and decisions of an endpoint, and keeps those of *request_ids*.

    Raises:
        UnavailableError: the nats-server does not answer.
    """
    parcels = {parcel.parcel_id: (stored, parcel) async for stored, parcel in read_parcels(client, endpoint)}
    record = Record()
    async for decision in read_decisions(client, endpoint):
        if decision.decision.request_id in request_ids:
            record.decisions[decision.decision.request_id] = decision.decision
    async for stored, score in read_scores(client, endpoint):
        if score.parcel_id in parcels and not score.stage:  # enrichers give other columns
            sent, parcel = parcels[score.parcel_id]
            _take_scores(record.scores[score.model], score, parcel, (stored - sent) / 1000.0, request_ids)
    return record


def _take_scores(
    into: dict[str, Scored], score: v1.ParcelScore, parcel: v1.Parcel, after_ms: float, request_ids: frozenset[str]
) -> None:
    outputs = FrameView(score.outputs) if score.outputs.rows else None
    row = 0
    for item, asked in zip(score.items, parcel.items, strict=True):
        if outputs is not None and item.rows == 1 and item.request_id in request_ids:
            scored = Scored(
                float(outputs["default_probability"][row]),
                str(outputs["label"][row]),
                after_ms,
                after_ms > asked.budget_us / 1000.0,
            )
            # A redelivered parcel is scored twice; the first score counts.
            into.setdefault(item.request_id, scored)
        row += item.rows


def sum_up(record: Record, models: Sequence[str], champion: str, defaulted: Mapping[str, int]) -> list[Standing]:
    """Returns the standing of each model.

    Args:
        record: what the streams hold.
        models: names, in the order wanted.
        champion: whom the others are compared with.
        defaulted: known outcome by request id, 1 for a bad loan.
    """
    won = Counter(decision.models[0] for decision in record.decisions.values() if decision.models)
    return [_sum_up_model(model, record, champion, defaulted, won[model]) for model in models]


def _sum_up_model(model: str, record: Record, champion: str, defaulted: Mapping[str, int], won: int) -> Standing:
    scores = record.scores[model]
    reference = record.scores[champion]
    times = np.array([score.after_ms for score in scores.values()] or [np.nan])
    shared = [request_id for request_id in scores if request_id in reference]
    outcomes = [defaulted[request_id] for request_id in scores]
    return Standing(
        model=model,
        answered=len(scores),
        won=won,
        late=sum(score.is_late for score in scores.values()),
        p50_ms=float(np.percentile(times, 50)),
        p99_ms=float(np.percentile(times, 99)),
        auc=float(roc_auc_score(outcomes, [score.default_probability for score in scores.values()]))
        if len(set(outcomes)) == 2
        else float("nan"),
        agreement=sum(scores[shown].label == reference[shown].label for shown in shared) / max(len(shared), 1),
    )
