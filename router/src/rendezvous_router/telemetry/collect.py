"""Reads a router's tallies as points of its metrics."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rendezvous_router.desk import Desk
from rendezvous_router.ledger import Ledger
from rendezvous_router.postbox import Postbox
from rendezvous_router.tally import EndpointTally, ModelTally, error_name, system_of
from rendezvous_router.telemetry.fleet_watch import FleetState, FleetWatch
from rendezvous_router.telemetry.histogram import Histogram
from rendezvous_router.telemetry.metrics import BY_NAME, Metric
from rendezvous_router.telemetry.spans import TEMPLATE


class Observed(Protocol):
    """What is read: a router."""

    desks: dict[str, Desk]
    ledger: Ledger
    postbox: Postbox
    fleet: FleetWatch

    @property
    def nowhere(self) -> EndpointTally:
        """Requests that found no endpoint."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one metric."""

    labels: tuple[str, ...]
    """Values of the metric's labels, in their order."""
    value: float | Histogram
    """The value."""


Points = Mapping[Metric, list[Point]]


def collect(routers: Mapping[str, Observed]) -> Points:
    """Returns every metric that has a value, with its points. Never waits; may be called from any thread.

    Args:
        routers: by tenant.
    """
    points: dict[Metric, list[Point]] = defaultdict(list)
    for tenant, router in tuple(routers.items()):
        _put_router(points, tenant, router)
    return points


def _put_router(points: dict[Metric, list[Point]], tenant: str, router: Observed) -> None:
    def put(name: str, value: float | Histogram, *labels: str) -> None:
        points[BY_NAME[name]].append(Point((tenant, *labels), value))

    put("rendezvous.postbox.connected", int(router.postbox.is_connected))
    put("rendezvous.decisions.waiting", router.ledger.waiting)
    put("rendezvous.decisions.dropped", router.ledger.dropped)
    _put_ended(put, "", router.nowhere)
    for name, desk in tuple(router.desks.items()):
        _put_endpoint(put, name, desk)
        for model in dict.fromkeys((*desk.endpoint.roles, *desk.endpoint.spec.enrichers, *desk.tally.models)):
            _put_model(put, name, model, desk.tally.models.get(model) or ModelTally())
    _put_fleet(put, router, router.fleet.state)


Put = Callable[..., None]


def _put_ended(put: Put, endpoint: str, tally: EndpointTally) -> None:
    for (how, code), count in tuple(tally.ended.items()):
        put("rendezvous.requests", count, endpoint, how, code)
    for (method, status), histogram in tuple(tally.calls_s.items()):
        put("rpc.server.call.duration", histogram, endpoint, system_of(method), method, status)


def _put_endpoint(put: Put, name: str, desk: Desk) -> None:
    tally = desk.tally
    _put_ended(put, name, tally)
    put("rendezvous.requests.in_flight", desk.in_flight, name)
    put("rendezvous.endpoint.revision", desk.endpoint.revision, name)
    for (rule, model), count in tuple(tally.decisions.items()):
        put("rendezvous.decisions", count, name, rule, model)
    for kind, count in tuple(tally.feedback.items()):
        put("rendezvous.feedback", count, name, kind)
    for code, count in tuple(tally.feedback_refused.items()):
        put("rendezvous.feedback.refused", count, name, code)
    put("rendezvous.decision.time", tally.decision_s, name)
    put("rendezvous.deadline.used_ratio", tally.deadline_used, name)
    put("messaging.client.operation.duration", tally.publish_s, name, "nats", "publish", TEMPLATE)
    put("rendezvous.parcel.requests", tally.parcel_requests, name)
    put("rendezvous.parcel.rows", tally.parcel_rows, name)
    put("rendezvous.parcel.size", tally.parcel_bytes, name)


def _put_model(put: Put, endpoint: str, model: str, tally: ModelTally) -> None:
    put("rendezvous.scores", tally.scored, endpoint, model, "")
    for code, count in tuple(tally.errors.items()):
        put("rendezvous.scores", count, endpoint, model, error_name(code))
    for why, count in tuple(tally.defaults.items()):
        put("rendezvous.enrichment.defaults", count, endpoint, model, why)
    put("rendezvous.scores.late", tally.late, endpoint, model)
    put("rendezvous.scores.lost", tally.lost, endpoint, model)
    put("rendezvous.scores.stray", tally.stray, endpoint, model)
    put("rendezvous.model.time", tally.time_s, endpoint, model)
    put("rendezvous.model.scoring.time", tally.scoring_s, endpoint, model)


def _put_fleet(put: Put, router: Observed, fleet: FleetState) -> None:
    for name, desk in tuple(router.desks.items()):
        for model in (*desk.endpoint.roles, *desk.endpoint.spec.enrichers):
            put("rendezvous.model.replicas", fleet.replicas.get((name, model), 0), name, model)
        if name in fleet.decoy_lags:
            put("rendezvous.decoy.lag", fleet.decoy_lags[name], name)
    for (endpoint, model, version), lag in fleet.lags.items():
        put("rendezvous.model.lag", lag, endpoint, model, version)
