"""Rates of one tenant or endpoint, requests, rows and bytes a second, each a token bucket. No clock of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

from rendezvous_proto.errors import OverloadedError, TooLargeError

from rendezvous_router.token_bucket import TokenBucket


class Rates(Protocol):
    """Rates as endpoints (`limits:` of a specification) and tenants (`TenantLimits`) declare them; None: no limit."""

    @property
    def requests_per_s(self) -> float | None:
        """Requests a second."""

    @property
    def requests_burst(self) -> int | None:
        """Requests at once; None: a second's worth."""

    @property
    def rows_per_s(self) -> float | None:
        """Rows a second."""

    @property
    def rows_burst(self) -> int | None:
        """Rows at once; None: a second's worth."""

    @property
    def bytes_per_s(self) -> float | None:
        """Bytes a second."""

    @property
    def bytes_burst(self) -> int | None:
        """Bytes at once; None: a second's worth."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request asks for."""

    requests: int
    """1."""
    rows: int
    """Its rows; 0 for a retry whose answer is known."""
    size_bytes: int
    """Its bytes; 0 for a retry whose answer is known."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """One bucket, and how to speak of it."""

    unit: str
    setting: str
    bucket: TokenBucket


class Quota:
    """The rates of one tenant or endpoint.

    Args:
        who: whose, as errors name it (`endpoint credit`).
        rates: how many.
        workers: processes among which each rate is divided; a burst is each one's own.
        settings: what stands before a rate's name where it is set (`limits.`).
        before: the quota that this one replaces; what is left of it stays left.
        now_ns: the present, where there is one to be replaced.
    """

    __slots__ = ("_limits", "rates", "who")

    def __init__(
        self,
        who: str,
        rates: Rates,
        *,
        workers: int = 1,
        settings: str = "",
        before: "Quota | None" = None,
        now_ns: int = 0,
    ) -> None:
        self.who = who
        self.rates = rates
        self._limits = tuple(
            _make_limit(unit, rate, burst, workers=workers, settings=settings)
            for unit, rate, burst in (
                ("requests", rates.requests_per_s, rates.requests_burst),
                ("rows", rates.rows_per_s, rates.rows_burst),
                ("bytes", rates.bytes_per_s, rates.bytes_burst),
            )
        )
        if before is not None:
            self._adopt_levels(before, now_ns)

    def take(self, asked: Asked, now_ns: int) -> None:
        """Takes what `check_quotas` has found to be there."""
        for limit, tokens in zip(self._limits, (asked.requests, asked.rows, asked.size_bytes), strict=True):
            if limit is not None:
                limit.bucket.take(tokens, now_ns)

    def shortage(self, asked: Asked, now_ns: int) -> "tuple[int, OverloadedError | None]":
        """Returns after how many nanoseconds all is there that is *asked* for, and what to answer; 0 and None: now.

        Raises:
            TooLargeError: it is more than a bucket holds, and never there.
        """
        longest, error = 0, None
        for limit, tokens in zip(self._limits, (asked.requests, asked.rows, asked.size_bytes), strict=True):
            if limit is None:
                continue
            if tokens > limit.bucket.burst:
                raise _too_large(self.who, limit, tokens)
            wait_ns = limit.bucket.wait_ns(tokens, now_ns)
            if wait_ns > longest:
                longest, error = wait_ns, _overloaded(self.who, limit, tokens, wait_ns, now_ns)
        return longest, error

    def _adopt_levels(self, before: "Quota", now_ns: int) -> None:
        for mine, old in zip(self._limits, before._limits, strict=True):  # noqa: SLF001 # one of its kind
            if mine is not None and old is not None:
                mine.bucket.adopt_level(old.bucket, now_ns)


def check_quotas(quotas: Sequence[Quota], asked: Asked, now_ns: int) -> None:
    """Checks that every quota has what is *asked* for; takes nothing.

    Raises:
        TooLargeError: it is more than a quota ever has at once.
        OverloadedError: a quota has too little; names the one that has enough last, and when.
    """
    worst = _worst(quotas, asked, now_ns)
    if worst is not None:
        try:
            raise worst
        finally:
            del worst  # this frame would hold the error, and it this frame: a flood of such cycles stops everybody


def _worst(quotas: Sequence[Quota], asked: Asked, now_ns: int) -> OverloadedError | None:
    return max((quota.shortage(asked, now_ns) for quota in quotas), key=itemgetter(0), default=(0, None))[1]


def _make_limit(unit: str, rate: float | None, burst: int | None, *, workers: int, settings: str) -> _Limit | None:
    if rate is None:
        return None
    return _Limit(unit, f"{settings}{unit}_per_s", TokenBucket(rate / workers, burst or max(1, int(rate))))


def _too_large(who: str, limit: _Limit, tokens: int) -> TooLargeError:
    burst = limit.bucket.burst
    setting = limit.setting.removesuffix("_per_s") + "_burst"
    return TooLargeError(
        f"request of {tokens} {limit.unit}: {who} takes at most {burst} {limit.unit} at once ({setting}), "
        "however long you wait; send fewer rows to a request",
        {"setting": setting, "of": who, "limit": burst, "actual": tokens},
    )


def _overloaded(who: str, limit: _Limit, tokens: int, wait_ns: int, now_ns: int) -> OverloadedError:
    wait_ms = -(-wait_ns // 1_000_000)
    return OverloadedError(
        f"{who} takes {limit.bucket.rate:.6g} {limit.unit} a second ({limit.setting}), {limit.bucket.burst} at once: "
        f"{tokens} asked for, {limit.bucket.left(now_ns)} left; retry after {wait_ms} ms, with the same request id",
        {
            "setting": limit.setting,
            "of": who,
            "limit": f"{limit.bucket.rate:.6g}",
            "actual": tokens,
            "retry_after_ms": wait_ms,
        },
    )
