"""Who may ask for how much: rates of tenants and endpoints, places in flight. The reference is docs/limits.md.

Everything is checked before anything is taken: a request that one limit refuses costs the others nothing.
"""

import time
from typing import Annotated

from msgspec import Meta, Struct
from rendezvous_proto.errors import TooLargeError

from rendezvous_router.admission import check_room
from rendezvous_router.endpoint import Endpoint
from rendezvous_router.fair_share import FairShare
from rendezvous_router.quota import Asked, Quota, check_quotas

__all__ = ["FairShare", "Gate", "TenantLimits"]

DEFAULT_TENANT = "default"
LEAST_RATE = 0.001
"""Slowest rate of anything: one in a thousand seconds."""
_NS = 1_000_000_000

Rate = Annotated[float, Meta(ge=LEAST_RATE)] | None
Count = Annotated[int, Meta(ge=1)] | None


class TenantLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one tenant may use, over all its endpoints. None, the default of each: no limit.

    Raises:
        ValueError: a value is out of its range, or there is a burst without its rate; the message names it.
    """

    requests_per_s: Rate = None
    """Requests a second, retries included; at least 0.001."""
    requests_burst: Count = None
    """Requests at once; None: a second's worth, at least 1."""
    rows_per_s: Rate = None
    """Rows a second; at least 0.001."""
    rows_burst: Count = None
    """Rows at once, and so in one request at most; None: a second's worth, at least 1."""
    bytes_per_s: Rate = None
    """Bytes of requests a second; at least 0.001."""
    bytes_burst: Count = None
    """Bytes at once, and so in one request at most; None: a second's worth, at least 1."""
    max_rows: Count = None
    """Rows of one request."""
    max_in_flight: Count = None
    """Requests accepted and not yet answered."""
    storage_bytes: Count = None
    """Bytes that all its streams, buckets and objects may take; nats-server sees to it."""
    connections: Count = None
    """Connections of its models and other users to nats-server, which sees to it."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            least = LEAST_RATE if name.endswith("_per_s") else 1
            if value is not None and not least <= value < float("inf"):
                raise ValueError(f"{name} = {value}: must be at least {least}")
        for what in ("requests", "rows", "bytes"):
            if getattr(self, f"{what}_burst") is not None and getattr(self, f"{what}_per_s") is None:
                raise ValueError(f"{what}_burst is given, {what}_per_s is not: a burst needs its rate")


class Gate:
    """Lets the requests of one tenant in, or refuses them. One for each `Router`; not thread-safe.

    Args:
        tenant: whose.
        limits: what the tenant may use.
        share: room that it shares with the other tenants of the process; None: there are no others.
        workers: processes among which the tenant's and the endpoints' rates, and the tenant's places in flight, are
            divided.
    """

    def __init__(
        self,
        tenant: str = DEFAULT_TENANT,
        limits: TenantLimits | None = None,
        share: FairShare | None = None,
        *,
        workers: int = 1,
    ) -> None:
        self.tenant = tenant
        self.share = share
        self.limits = limits or TenantLimits()
        self._workers = workers
        self._quota = Quota(f"tenant {tenant}", self.limits, workers=workers)
        self._quotas: dict[str, Quota] = {}

    def set_limits(self, limits: TenantLimits) -> None:
        """Replaces the tenant's limits. What is in flight stays; an emptied bucket is not filled by this."""
        self._quota = Quota(
            self._quota.who, limits, workers=self._workers, before=self._quota, now_ns=time.monotonic_ns()
        )
        self.limits = limits

    def check(self, endpoint: Endpoint, rows: int, size_bytes: int, now: float) -> None:
        """Checks a request against the tenant's `max_rows` and all rates; takes nothing.

        Args:
            endpoint: the endpoint asked.
            rows: of the request.
            size_bytes: of the request.
            now: seconds of the monotonic clock.

        Raises:
            TooLargeError: it could never be let in.
            OverloadedError: not now.
        """
        most = self.limits.max_rows
        if most is not None and rows > most:
            raise TooLargeError(
                f"request of {rows} rows: the limit of tenant {self.tenant} (max_rows) is {most} rows; "
                "send several requests, or use ScoreStream",
                {"setting": "max_rows", "of": f"tenant {self.tenant}", "limit": most, "actual": rows},
            )
        now_ns = int(now * _NS)
        check_quotas(self._both(endpoint, now_ns), Asked(1, rows, size_bytes), now_ns)

    def check_room(self, endpoint: Endpoint, in_flight: int, in_flight_there: int, most: int) -> None:
        """Checks that there is a place for one more request.

        Args:
            endpoint: the endpoint asked.
            in_flight: requests of the tenant.
            in_flight_there: those of them that are the endpoint's.
            most: places of the process (`RouterOptions.max_in_flight`), where they are not shared.

        Raises:
            OverloadedError: endpoint, tenant or process has as many in flight as it may.
        """
        allowed = endpoint.spec.limits.max_in_flight
        check_room(f"endpoint {endpoint.name}", in_flight_there, allowed, "limits.max_in_flight")
        if self.limits.max_in_flight is not None:
            allowed = -(-self.limits.max_in_flight // self._workers)
            check_room(f"tenant {self.tenant}", in_flight, allowed, "max_in_flight")
        if self.share is not None:
            self.share.check(self.tenant)
        else:
            check_room("this router", in_flight, most, "--max-in-flight")

    def take(self, endpoint: Endpoint, rows: int, size_bytes: int, now: float) -> None:
        """Takes what `check` has found to be there; 0 rows for a request id that is known."""
        now_ns, asked = int(now * _NS), Asked(1, rows, size_bytes)
        for quota in self._both(endpoint, now_ns):
            quota.take(asked, now_ns)

    def enter(self) -> None:
        """Takes a place, which `check_room` has found."""
        if self.share is not None:
            self.share.enter(self.tenant)

    def leave(self) -> None:
        """Gives a place back."""
        if self.share is not None:
            self.share.leave(self.tenant)

    def forget(self, endpoint: str) -> None:
        """Lets go of an endpoint that is deleted."""
        self._quotas.pop(endpoint, None)

    def _both(self, endpoint: Endpoint, now_ns: int) -> tuple[Quota, Quota]:
        limits = endpoint.spec.limits
        quota = self._quotas.get(endpoint.name)
        if quota is None or quota.rates is not limits:
            who = f"endpoint {endpoint.name}"
            quota = Quota(who, limits, workers=self._workers, settings="limits.", before=quota, now_ns=now_ns)
            self._quotas[endpoint.name] = quota
        return self._quota, quota
