"""Parcels and their scores."""

import asyncio

from nats.errors import Error as NatsError
from rendezvous_proto import v1
from rendezvous_proto.postbox import MAX_PARCEL_BYTES, score_subject

from rendezvous_router.conformance.caller import code_name
from rendezvous_router.conformance.case import Need, NotApplicable, expect, expect_equal, group
from rendezvous_router.conformance.cases._checks import check_echo, check_items, check_message, check_outputs
from rendezvous_router.conformance.frames import type_name
from rendezvous_router.conformance.site import Site

case = group("Parcels")

_PUBLISH = [Need.PUBLISH]


@case(
    "postbox.one-request", "a parcel of one request is answered, and says by whom", rules="P22 P26 P28", needs=_PUBLISH
)
async def one_request(site: Site) -> None:
    """Every field of the answer."""
    parcel = site.postman.parcel(site.inputs.table(1))
    sequence = await site.postman.send(parcel)
    score = await site.postman.score_of(parcel)
    check_items(score, parcel)
    check_outputs(site, score.outputs, 1)
    for what, actual, expected in (
        ("endpoint", score.endpoint, site.endpoint),
        ("model", score.model, site.model),
        ("version", score.version, site.version),
        ("parcel_sequence", score.parcel_sequence, sequence),
        ("delivery", score.delivery, 1),
    ):
        expect_equal(what, actual, expected)
    expect(score.replica, "replica is empty")
    times = score.timing
    expect(0 < times.received_unix_us <= times.started_unix_us <= times.finished_unix_us, "times are not in order")
    subject = site.postman.arrivals_of(parcel)[0].subject
    expect_equal("the subject", subject, score_subject(site.endpoint, site.model, site.postman.router))


@case(
    "postbox.many-requests",
    "requests of several sizes in one parcel are answered in order, with their rows",
    rules="P12 P26",
    needs=_PUBLISH,
)
async def many_requests(site: Site) -> None:
    """Fifty requests of one to five rows."""
    tables = [site.inputs.table(1 + number % 5, first=number) for number in range(50)]
    parcel = site.postman.parcel(*tables)
    await site.postman.send(parcel)
    score = await site.postman.score_of(parcel)
    check_items(score, parcel)
    check_outputs(site, score.outputs, parcel.inputs.rows)
    if site.is_probe:
        check_echo(parcel.inputs, score.outputs)


@case("postbox.burst", "a burst of parcels is answered once each, each with its own rows", rules="P22", needs=_PUBLISH)
async def burst(site: Site) -> None:
    """A hundred at once; what waits may be scored together, it is answered apart."""
    parcels = [
        site.postman.parcel(site.inputs.table(2, first=number), site.inputs.table(1, first=number + 50))
        for number in range(100)
    ]
    sequences = await asyncio.gather(*[site.postman.send(parcel) for parcel in parcels])
    for parcel in parcels:
        score = await site.postman.score_of(parcel)
        check_items(score, parcel)
        if site.is_probe:
            check_echo(parcel.inputs, score.outputs)
    for sequence in sequences:
        await site.postman.settled(sequence)


@case(
    "postbox.ack-after-score",
    "a parcel is acknowledged after its score has left, never before",
    rules="P23",
    needs=_PUBLISH,
)
async def ack_after_score(site: Site) -> None:
    """The order in which the broker got them, of one parcel after another."""
    for number in range(10):
        parcel = site.postman.parcel(site.inputs.table(1, first=number))
        sequence = await site.postman.send(parcel)
        await site.postman.score_of(parcel)
        sign = await site.postman.settled(sequence)
        scored = site.postman.arrivals_of(parcel)[0].order
        expect(scored < sign.order, f"message {sequence} was acknowledged ({sign.word}) before its score was published")


@case(
    "postbox.malformed",
    "what is no sound parcel is taken off the postbox, and what follows is scored",
    rules="P12 P15",
    needs=_PUBLISH,
)
async def malformed(site: Site) -> None:
    """No protobuf, cut short, rows that do not add up, no items."""
    table = site.inputs.table(2)
    wrong: dict[str, bytes] = {"no protobuf": b"\xff" * 20}
    wrong["cut short"] = site.postman.parcel(table).SerializeToString()[:-6]
    for what, rows in (
        ("too few rows", [1]),
        ("too many rows", [2, 1]),
        ("an item without rows", [2, 0]),
        ("no items", []),
    ):
        parcel = site.postman.parcel(table)
        del parcel.items[:]
        parcel.items.extend(
            v1.ParcelItem(request_id=f"m{i}", rows=each, budget_us=10**8) for i, each in enumerate(rows)
        )
        wrong[what] = parcel.SerializeToString()
    first = len(site.postman.arrivals)
    sequences = {what: await site.postman.send_raw(payload) for what, payload in wrong.items()}
    sound = site.postman.parcel(table)
    await site.postman.send(sound)
    check_items(await site.postman.score_of(sound), sound)
    for sequence in sequences.values():
        await site.postman.settled(sequence)
    for arrival in site.postman.arrivals[first:]:
        if arrival.score.parcel_id != sound.parcel_id:
            unscored = all(item.HasField("error") for item in arrival.score.items)
            expect(unscored and not arrival.score.outputs.rows, "a parcel that contradicts itself was scored")


def _unfit(site: Site) -> tuple[v1.Frame, str]:
    """Returns a row that the model must not score, and the error that it is answered with."""
    if site.is_probe:
        return site.inputs.command("fail:no luck"), "MODEL_FAILED"
    for name, spec in site.inputs.specs.items():
        if site.inputs.is_declared and not spec.allow_missing:
            return site.inputs.table(1, columns={name: [None]}), "SIGNATURE_MISMATCH"
        if site.inputs.is_declared and type_name(spec.type).startswith("FP") and not spec.allow_nan and not spec.shape:
            return site.inputs.table(1, columns={name: [float("nan")]}), "SIGNATURE_MISMATCH"
    raise NotApplicable("no row is known that the model must refuse: it declares no column without missing rows")


@case(
    "postbox.one-bad-row",
    "one bad request in a parcel fails alone; the others are scored",
    rules="P26 P27",
    needs=_PUBLISH,
)
async def one_bad_row(site: Site) -> None:
    """First, in the middle, last; then two of twenty."""
    bad, code = _unfit(site)
    for places, size in (((0,), 3), ((1,), 3), ((2,), 3), ((4, 17), 20)):
        tables = [bad if place in places else site.inputs.table(2, first=place) for place in range(size)]
        parcel = site.postman.parcel(*tables)
        await site.postman.send(parcel)
        score = await site.postman.score_of(parcel)
        check_items(score, parcel, *[code if place in places else "" for place in range(size)])
        failed = next(item for item in score.items if item.HasField("error"))
        check_message(failed.error, *(["no luck"] if site.is_probe else []))
        good = site.postman.parcel(*[table for place, table in enumerate(tables) if place not in places]).inputs
        check_outputs(site, score.outputs, good.rows)
        if site.is_probe:
            check_echo(good, score.outputs)


@case(
    "postbox.all-bad",
    "a parcel of bad requests only is answered with an error for each",
    rules="P26 P27",
    needs=_PUBLISH,
)
async def all_bad(site: Site) -> None:
    """Three of three."""
    bad, code = _unfit(site)
    parcel = site.postman.parcel(bad, bad, bad)
    sequence = await site.postman.send(parcel)
    check_items(await site.postman.score_of(parcel), parcel, code, code, code)
    await site.postman.settled(sequence)


@case("postbox.bad-beside-good", "a bad parcel does not touch one that waits beside it", rules="P27", needs=_PUBLISH)
async def bad_beside_good(site: Site) -> None:
    """They may have been scored as one table."""
    bad, code = _unfit(site)
    parcels = [site.postman.parcel(bad if number % 2 else site.inputs.table(1, first=number)) for number in range(10)]
    await asyncio.gather(*[site.postman.send(parcel) for parcel in parcels])
    for number, parcel in enumerate(parcels):
        check_items(await site.postman.score_of(parcel), parcel, code if number % 2 else "")


@case(
    "postbox.other-columns",
    "parcels with other columns that wait together are answered each",
    rules="P13 P27",
    needs=_PUBLISH,
)
async def other_columns(site: Site) -> None:
    """A frame that the model does not expect, between two that it does."""
    if not site.inputs.is_declared:
        raise NotApplicable("the model declares no inputs")
    strange = site.inputs.table(1)
    del strange.columns[0]
    parcels = [site.postman.parcel(each) for each in (site.inputs.table(1), strange, site.inputs.table(1, first=1))]
    await asyncio.gather(*[site.postman.send(parcel) for parcel in parcels])
    for parcel, code in zip(parcels, ("", "SIGNATURE_MISMATCH", ""), strict=True):
        check_items(await site.postman.score_of(parcel), parcel, code)


@case(
    "postbox.bad-frame",
    "a parcel whose frame contradicts itself is answered INVALID_FRAME",
    rules="P47",
    needs=_PUBLISH,
)
async def bad_frame(site: Site) -> None:
    """A column with one byte too few, beside a sound parcel."""
    torn = site.inputs.table(2)
    spoilt = next((column for column in torn.columns if column.values), None)
    if spoilt is None:
        raise NotApplicable("the model has no fixed-width column")
    parcel = site.postman.parcel(site.inputs.table(1), site.inputs.table(1, first=1))
    spoilt.values = spoilt.values[:-1]
    parcel.inputs.CopyFrom(torn)
    sound = site.postman.parcel(site.inputs.table(1))
    await asyncio.gather(site.postman.send(parcel), site.postman.send(sound))
    score = await site.postman.score_of(parcel)
    check_items(score, parcel, "INVALID_FRAME", "INVALID_FRAME")
    check_message(score.items[0].error, spoilt.name)
    check_items(await site.postman.score_of(sound), sound)


@case(
    "postbox.large-score",
    "a score that would not fit a message is answered TOO_LARGE, within the limit",
    rules="P11 P22",
    needs=[Need.PUBLISH, Need.PROBE],
)
async def large_score(site: Site) -> None:
    """Just below the limit going in, `strict` makes it too large coming out."""
    rows = 2000
    table = site.inputs.table(rows)
    ballast = next(column for column in table.columns if column.name == "bytes")
    spare = MAX_PARCEL_BYTES - 500 - table.ByteSize()
    ballast.blobs[:] = [bytes(spare // rows)] * rows
    parcel = site.postman.parcel(table)
    expect(parcel.ByteSize() <= MAX_PARCEL_BYTES, "the kit's own parcel is too large")
    try:
        await site.postman.send(parcel)
    except NatsError as error:
        raise NotApplicable(f"the server does not take messages of 900 KiB: {error}") from error
    score = await site.postman.score_of(parcel)
    size = site.postman.arrivals_of(parcel)[0].payload_bytes
    expect(size <= MAX_PARCEL_BYTES, f"the score has {size} bytes; the limit is {MAX_PARCEL_BYTES}")
    expect_equal("the error", code_name(score.items[0].error), "TOO_LARGE")


@case(
    "postbox.same-parcel-twice",
    "a parcel that comes a second time is scored and answered again",
    rules="P25",
    needs=_PUBLISH,
)
async def same_parcel_twice(site: Site) -> None:
    """The same parcel under another `Nats-Msg-Id`: the broker keeps both; the router takes the first answer."""
    parcel = site.postman.parcel(site.inputs.table(2))
    sequences = [await site.postman.send(parcel, msg_id=f"{parcel.parcel_id}-{n}") for n in (1, 2)]
    await site.postman.wait(
        lambda: True if len(site.postman.arrivals_of(parcel)) == 2 else None, limit_s=5.0, what="no second answer"
    )
    first, second = (arrival.score for arrival in site.postman.arrivals_of(parcel))
    expect_equal("their sequences", sorted((first.parcel_sequence, second.parcel_sequence)), sequences)
    expect(first.items == second.items, "the second answer is another than the first")
    check_items(second, parcel)


@case(
    "postbox.deduplicated",
    "a publish repeated under the same Nats-Msg-Id is stored, scored and answered once",
    rules="P10 P14",
    needs=_PUBLISH,
)
async def deduplicated(site: Site) -> None:
    """As a router repeats a publish that timed out."""
    parcel = site.postman.parcel(site.inputs.table(1))
    sequences = [await site.postman.send(parcel) for _ in range(3)]
    expect_equal("the sequences", sequences, sequences[:1] * 3)
    await site.postman.settled(sequences[0])
    after = site.postman.parcel(site.inputs.table(1))
    await site.postman.send(after)
    await site.postman.score_of(after)
    expect_equal("the number of answers", len(site.postman.arrivals_of(parcel)), 1)


@case(
    "postbox.nothing-else",
    "nothing but scores was sent to this router's address so far",
    rules="P22 P25",
    needs=_PUBLISH,
)
async def nothing_else(site: Site) -> str:
    """One answer a delivery, each of a parcel that was sent, each a ParcelScore."""
    expect_equal("messages that are no ParcelScore", site.postman.garbage, [])
    keys = [(arrival.score.parcel_sequence, arrival.score.delivery) for arrival in site.postman.arrivals]
    expect_equal("deliveries with two answers", sorted({key for key in keys if keys.count(key) > 1}), [])
    return f"{len(keys)} scores"
