"""Limits in virtual time: buckets, quotas, shares of room, and what the gate makes of them."""

from collections import Counter
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendezvous.spec import parse_spec
from rendezvous_proto.errors import OverloadedError, TooLargeError
from rendezvous_router.endpoint import Endpoint, compile_endpoint
from rendezvous_router.fair_share import FairShare
from rendezvous_router.limits import Gate, TenantLimits
from rendezvous_router.quota import Asked, Quota, check_quotas
from rendezvous_router.token_bucket import TokenBucket

NS = 10**9
RATES = st.integers(1, 5_000_000).map(lambda thousandths: thousandths / 1000)
STEPS = st.lists(st.tuples(st.integers(0, 20 * NS), st.integers(1, 30)), max_size=60)


class NaiveBucket:
    """The definition, in fractions: full at first, gains rate x time, holds no more than its burst."""

    def __init__(self, rate: Fraction, burst: int) -> None:
        self.rate, self.burst, self.level, self.at_ns = rate, Fraction(burst), Fraction(burst), 0

    def wait_s(self, tokens: int, now_ns: int) -> Fraction:
        """Returns after how many seconds *tokens* are there."""
        self.level = min(self.burst, self.level + self.rate * Fraction(now_ns - self.at_ns, NS))
        self.at_ns = now_ns
        return max(Fraction(0), (tokens - self.level) / self.rate)


@given(RATES, st.integers(30, 100), STEPS)
def test_a_bucket_is_exact(rate: float, burst: int, steps: list[tuple[int, int]]) -> None:
    """Whatever the steps, a bucket holds what the definition says, to the last bit, and names the first moment."""
    bucket, naive, now_ns = TokenBucket(rate, burst), NaiveBucket(Fraction(round(rate * 1000), 1000), burst), 0
    for pause_ns, tokens in steps:
        now_ns += pause_ns
        expected_s = naive.wait_s(tokens, now_ns)
        wait_ns = bucket.wait_ns(tokens, now_ns)
        assert wait_ns - 1 < expected_s * NS <= wait_ns
        if not wait_ns:
            bucket.take(tokens, now_ns)
            naive.level -= tokens


@given(RATES, st.integers(1, 50), STEPS)
def test_no_interval_gives_more_than_burst_and_rate(rate: float, burst: int, steps: list[tuple[int, int]]) -> None:
    """From any taking to any later one, at most burst + rate x time tokens are taken."""
    bucket, now_ns, taken = TokenBucket(rate, burst), 0, [(0, 0)]
    for pause_ns, tokens in steps:
        now_ns += pause_ns
        if tokens <= burst and not bucket.wait_ns(tokens, now_ns):
            bucket.take(tokens, now_ns)
            taken.append((now_ns, tokens))
    for first, (begin_ns, _) in enumerate(taken):
        total = 0
        for end_ns, tokens in taken[first:]:
            total += tokens
            assert total <= burst + Fraction(round(rate * 1000), 1000) * Fraction(end_ns - begin_ns, NS)


def test_waiting_as_told_is_enough() -> None:
    """Who comes back after the time told is let in, and a nanosecond earlier is not."""
    bucket = TokenBucket(3.0, 2)
    bucket.take(2, 0)
    wait_ns = bucket.wait_ns(1, 0)
    assert bucket.wait_ns(1, wait_ns - 1) == 1
    assert bucket.wait_ns(1, wait_ns) == 0


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of a quota."""

    requests_per_s: float | None = None
    requests_burst: int | None = None
    rows_per_s: float | None = None
    rows_burst: int | None = None
    bytes_per_s: float | None = None
    bytes_burst: int | None = None


def test_what_one_limit_refuses_costs_the_others_nothing() -> None:
    """A request refused for its rows takes no request from any bucket, and is told the longest wait of all."""
    tenant = Quota("tenant acme", Rates(requests_per_s=10, requests_burst=2, rows_per_s=1, rows_burst=100))
    endpoint = Quota("endpoint credit", Rates(rows_per_s=10, rows_burst=60), settings="limits.")
    both, asked = (tenant, endpoint), Asked(1, 60, 500)
    check_quotas(both, asked, 0)
    for quota in both:
        quota.take(asked, 0)
    for _ in range(5):
        with pytest.raises(OverloadedError) as caught:
            check_quotas(both, asked, 0)
    assert caught.value.attributes == {
        "setting": "rows_per_s",  # 20 s; the endpoint's would be there in 6 s
        "of": "tenant acme",
        "limit": "1",
        "actual": "60",
        "retry_after_ms": "20000",
    }
    check_quotas(both, Asked(1, 0, 0), 0)  # the second request of two is still there


def test_more_than_a_bucket_is_too_large_and_never_later() -> None:
    """A request larger than the burst is refused for good, and the error says what the most is."""
    quota = Quota("endpoint credit", Rates(bytes_per_s=1000.5), settings="limits.")
    check_quotas((quota,), Asked(1, 1, 1000), 0)
    with pytest.raises(TooLargeError, match=r"at most 1000 bytes at once \(limits.bytes_burst\)") as caught:
        check_quotas((quota,), Asked(1, 1, 1001), 0)
    assert "retry_after_ms" not in caught.value.attributes


def test_workers_divide_a_rate_and_not_a_burst() -> None:
    """Of four workers each gives a quarter of the rate, and takes a request as large as one alone would."""
    quota = Quota("endpoint credit", Rates(rows_per_s=100), workers=4)
    quota.take(Asked(1, 100, 0), 0)
    wait_ns, _ = quota.shortage(Asked(1, 50, 0), 0)
    assert wait_ns == 2 * NS


@pytest.mark.parametrize(
    ("given_limits", "message"),
    [
        ({"rows_burst": 5}, "rows_burst is given, rows_per_s is not"),
        ({"requests_per_s": 0}, "requests_per_s"),
        ({"max_rows": 0}, "max_rows"),
        ({"bytes_per_s": float("inf")}, "bytes_per_s"),
        ({"rows_per_second": 5}, "rows_per_second"),
    ],
)
def test_tenant_limits_that_make_no_sense_are_refused(given_limits: dict[str, Any], message: str) -> None:
    """A value out of range, a burst without its rate and an unknown name are refused by name, also when decoded."""
    with pytest.raises((ValueError, TypeError), match=message):
        TenantLimits(**given_limits)
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(given_limits, TenantLimits)


def naive_is_let_in(places: list[str], tenant: str, capacity: int, weights: dict[str, float]) -> bool:
    """The rule in one line: there is a place, and the tenant holds less than its weight times those left."""
    free = capacity - len(places)
    return free > 0 and Counter(places)[tenant] < weights.get(tenant, 1.0) * free


@given(
    st.integers(1, 40),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0.25, 0.5, 1.0, 2.0, 7.0])),
    st.lists(st.tuples(st.sampled_from(["come", "come", "go"]), st.sampled_from("abcd")), max_size=200),
)
def test_room_is_shared_as_the_rule_says(
    capacity: int, weights: dict[str, float], events: list[tuple[str, str]]
) -> None:
    """Against a naive model: the same tenants are let in, never more than there is room."""
    share, places = FairShare(capacity, weights), list[str]()
    for event, tenant in events:
        if event == "go":
            if tenant in places:
                places.remove(tenant)
                share.leave(tenant)
            continue
        expected = naive_is_let_in(places, tenant, capacity, weights)
        try:
            share.check(tenant)
        except OverloadedError:
            assert not expected
            assert tenant in places or len(places) == capacity
        else:
            assert expected
            places.append(tenant)
            share.enter(tenant)
        assert share.in_flight == len(places) <= capacity
        assert share.held(tenant) == Counter(places)[tenant]


@pytest.mark.parametrize(("floods", "held"), [(1, 512), (2, 341), (3, 256), (7, 128)])
def test_floods_leave_room_for_whoever_comes_next(floods: int, held: int) -> None:
    """Tenants that flood in turns hold 1/(their number + 1) of the room each, and a newcomer gets places at once."""
    share, full = FairShare(1024), set[str]()
    tenants = [f"flood-{number}" for number in range(floods)]
    while len(full) < floods:
        for tenant in tenants:
            try:
                share.check(tenant)
            except OverloadedError:
                full.add(tenant)
            else:
                share.enter(tenant)
    assert all(abs(share.held(tenant) - held) <= 1 for tenant in tenants)
    for _ in range(held // 2 - 1):
        share.check("newcomer")
        share.enter("newcomer")


def endpoint(**limits: Any) -> Endpoint:
    """An endpoint with these limits."""
    document = {
        "endpoint": "credit",
        "inputs": [],
        "outputs": [{"name": "p", "type": "FP64"}],
        "models": {"m": {}},
        "policy": {"deadline": "1s"},
        "limits": limits,
    }
    return compile_endpoint(parse_spec(document), 1)


def test_changed_limits_fill_no_bucket() -> None:
    """A flood cannot be renewed by changing the tenant's or the endpoint's limits: what was taken stays taken."""
    gate, now = Gate("acme", TenantLimits(rows_per_s=1, rows_burst=10)), 1e9
    before, after = endpoint(requests_per_s=1), endpoint(requests_per_s=1, max_rows=5)
    gate.check(before, 10, 1, now)
    gate.take(before, 10, 1, now)
    with pytest.raises(OverloadedError, match=r"limits\.requests_per_s"):
        gate.check(after, 0, 1, now)
    gate.set_limits(TenantLimits(rows_per_s=2, rows_burst=20))
    with pytest.raises(OverloadedError, match="tenant acme takes 2 rows a second"):
        gate.check(after, 10, 1, now + 1.5)
    gate.set_limits(TenantLimits(max_rows=3))
    with pytest.raises(TooLargeError, match="limit of tenant acme"):
        gate.check(after, 4, 1, now + 9)


def test_a_place_is_refused_by_whoever_has_none() -> None:
    """Endpoint, tenant and process are asked in turn, and the error names who has none and by which setting."""
    gate = Gate("acme", TenantLimits(max_in_flight=5), workers=2)
    for in_flight, there, most, setting in (
        (2, 2, 9, "limits.max_in_flight"),
        (3, 1, 9, "max_in_flight"),
        (2, 1, 2, "--max-in-flight"),
    ):
        with pytest.raises(OverloadedError) as caught:
            gate.check_room(endpoint(max_in_flight=2), in_flight, there, most)
        assert caught.value.attributes["setting"] == setting
    gate.check_room(endpoint(max_in_flight=2), 2, 1, 9)
    share = FairShare(2)
    one, other = Gate("one", share=share), Gate("other", share=share)
    one.check_room(endpoint(), 0, 0, 2)
    one.enter()
    with pytest.raises(OverloadedError, match="1 of them yours"):
        one.check_room(endpoint(), 1, 1, 2)
    other.check_room(endpoint(), 0, 0, 2)
    one.leave()
    one.check_room(endpoint(), 0, 0, 2)
