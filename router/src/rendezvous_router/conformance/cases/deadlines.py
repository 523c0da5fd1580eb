"""Deadlines and expiry, told by the broker's clock alone."""

from rendezvous_router.conformance.case import Need, expect, group
from rendezvous_router.conformance.cases._checks import check_items, check_message, check_outputs
from rendezvous_router.conformance.site import Site

case = group("Deadlines")

_PUBLISH = [Need.PUBLISH]


@case(
    "postbox.expired",
    "what had expired before delivery is answered EXPIRED; the rest of the parcel is scored",
    rules="P71 P72",
    needs=_PUBLISH,
)
async def expired(site: Site) -> None:
    """Budgets that were over when the parcel was sealed."""
    tables = [site.inputs.table(2, first=number) for number in range(4)]
    parcel = site.postman.parcel(*tables, budgets_s=(-2.0, 60.0, -2.0, 60.0))
    await site.postman.send(parcel)
    score = await site.postman.score_of(parcel)
    check_items(score, parcel, "EXPIRED", "", "EXPIRED", "")
    check_message(score.items[0].error)
    check_outputs(site, score.outputs, 4)


@case(
    "postbox.all-expired",
    "a parcel of expired requests only is answered, and acknowledged",
    rules="P72",
    needs=_PUBLISH,
)
async def all_expired(site: Site) -> None:
    """Two of two."""
    parcel = site.postman.parcel(site.inputs.table(1), site.inputs.table(1), budget_s=-2.0)
    sequence = await site.postman.send(parcel)
    check_items(await site.postman.score_of(parcel), parcel, "EXPIRED", "EXPIRED")
    await site.postman.settled(sequence)


@case("postbox.clock-off", "a router whose clock is an hour off makes no difference", rules="P70 P71", needs=_PUBLISH)
async def clock_off(site: Site) -> None:
    """By the absolute deadline all of these would be wrong."""
    for clock_off_s in (-3600.0, 3600.0):
        parcel = site.postman.parcel(
            site.inputs.table(1), site.inputs.table(1), budgets_s=(5.0, -2.0), clock_off_s=clock_off_s
        )
        await site.postman.send(parcel)
        check_items(await site.postman.score_of(parcel), parcel, "", "EXPIRED")


@case(
    "postbox.late-is-scored",
    "what was in time at delivery is scored, however late its answer",
    rules="P73",
    needs=[Need.PUBLISH, Need.PROBE],
)
async def late_is_scored(site: Site) -> None:
    """A request of 100 ms that takes 400 ms, and one that waited behind it in the replica."""
    slow = site.postman.parcel(site.inputs.command("sleep:400"), budget_s=0.1)
    behind = site.postman.parcel(site.inputs.command("", first=1), budget_s=0.1)
    await site.postman.send(slow)
    await site.postman.send(behind)
    check_items(await site.postman.score_of(slow), slow)
    score = await site.postman.score_of(behind)
    check_items(score, behind)
    late_us = score.timing.finished_unix_us - behind.sealed_unix_us
    expect(score.timing.started_unix_us, "timing is not set")
    expect(late_us >= 0, "it finished before it was sealed")
