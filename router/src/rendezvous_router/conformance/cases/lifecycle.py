"""Programs that start, work long, die, drain, and lose their broker."""

import asyncio
import signal
import time

from rendezvous_proto import v1
from rendezvous_proto.postbox import MODELS_BUCKET, model_key
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.conformance.case import Need, expect, expect_equal, group
from rendezvous_router.conformance.cases._checks import check_echo, check_items, check_outputs
from rendezvous_router.conformance.cases.registration import replica_names
from rendezvous_router.conformance.program import Program
from rendezvous_router.conformance.site import ACK_WAIT_S, Site

case = group("Programs that start, die and drain")

_PROBE = [Need.PROBE]
_DRAIN_LIMIT_S = 9.0
_BACK_LIMIT_S = 2.0
_ANSWER_LIMIT_S = 12.0


@case(
    "program.start",
    "the program waits for its endpoint's streams, makes none, registers, reads, and says once that it is ready",
    rules="P6 P91",
)
async def start(site: Site) -> str:
    """The kit made the streams only after the program had asked for them."""
    expect(site.startup.asked, "the program never asked for its stream")
    expect(not site.startup.was_ready, "the program said that it was ready before its streams existed")
    streams = (f"STREAM.CREATE.RV_{site.endpoint}", f"STREAM.UPDATE.RV_{site.endpoint}")
    kits = 2  # the kit's own calls, one for each stream
    made = [call for call in site.postman.calls if call.removeprefix("$JS.API.").startswith(streams)]
    expect(len(made) <= kits, f"the program made streams itself: {made[kits:]}")
    program = (await site.replicas(1))[0]
    calls = site.postman.calls
    key = f"$KV.{MODELS_BUCKET}.{model_key(site.endpoint, site.model, site.version)}"
    expect(key in calls, f"the program wrote no {key}")
    pulls = [index for index, call in enumerate(calls) if call.startswith("$JS.API.CONSUMER.MSG.NEXT.RV_")]
    expect(pulls and calls.index(key) < pulls[0], "the program asked for messages before it had registered its model")
    lines = [line for line in program.stdout if line.startswith("ready: ")]
    expect(len(lines) == 1, f"the program said {len(lines)} times that it is ready")
    ready = program.ready
    assert ready is not None, "replicas are ready"
    expect_equal(
        "model of the ready line",
        (ready.model, ready.version, ready.endpoint),
        (site.model, site.version, site.endpoint),
    )
    return lines[0].removeprefix("ready: ")


@case(
    "program.long-scoring",
    "scoring for longer than ack_wait is signalled, and delivered once",
    rules="P24",
    needs=_PROBE,
    limit_s=60.0,
)
async def long_scoring(site: Site) -> str:
    """A second replica waits beside it, so that a redelivery would be scored."""
    await site.replicas(2)
    parcel = site.postman.parcel(site.inputs.command(f"sleep:{ACK_WAIT_S * 2500:.0f}"))
    sequence = await site.postman.send(parcel)
    score = await site.postman.score_of(parcel)
    check_items(score, parcel)
    await site.postman.settled(sequence)
    expect_equal("the number of the delivery", score.delivery, 1)
    deliveries = {sign.delivery for sign in site.postman.signs if sign.sequence == sequence}
    expect_equal("the deliveries", deliveries, {1})
    signals = [sign for sign in site.postman.signs if sign.sequence == sequence and sign.word == "+WPI"]
    expect(len(signals) >= 4, f"{len(signals)} in-progress signals in five times half of ack_wait; expected 4 or more")
    return f"{len(signals)} signals"


def _load(site: Site, count: int) -> list[v1.Parcel]:
    """Returns parcels that take a while each, so that a replica always holds some."""
    return [site.postman.parcel(site.inputs.command("sleep:100", first=number)) for number in range(count)]


async def _until_at_work(site: Site, program: Program, parcels: list[v1.Parcel]) -> None:
    """Sends parcels and waits until *program* has answered one; it holds others then."""
    for parcel in parcels:
        await site.postman.send(parcel)
    name = program.ready.replica if program.ready else ""
    ids = {parcel.parcel_id for parcel in parcels}
    await site.postman.wait(
        lambda: next((a for a in site.postman.arrivals if a.score.replica == name and a.score.parcel_id in ids), None),
        limit_s=10.0,
        what=f"replica {name} answered none of {len(parcels)} parcels",
    )


async def _all_answered(site: Site, parcels: list[v1.Parcel]) -> list[v1.ParcelScore]:
    scores = [await site.postman.score_of(parcel, limit_s=_ANSWER_LIMIT_S) for parcel in parcels]
    for parcel, score in zip(parcels, scores, strict=True):
        check_items(score, parcel)
        check_echo(parcel.inputs, score.outputs)
    return scores


@case(
    "program.killed",
    "one of two replicas killed at work: every parcel is answered, none is lost",
    rules="P23 P25",
    needs=_PROBE,
    limit_s=90.0,
)
async def killed(site: Site) -> str:
    """What it held is delivered to the other after ack_wait, and says so."""
    victim = (await site.replicas(2))[0]
    parcels = _load(site, 40)
    await _until_at_work(site, victim, parcels)
    await victim.kill()
    scores = await _all_answered(site, parcels)
    again = [score for score in scores if score.delivery > 1]
    expect(
        again, "no parcel was delivered again: the killed replica held none, or had acknowledged what it had not scored"
    )
    dead = victim.ready.replica if victim.ready else ""
    expect(all(score.replica != dead for score in again), "a redelivered parcel was answered by the killed replica")
    return f"{len(again)} of {len(parcels)} delivered again"


@case(
    "program.drain",
    "SIGTERM at work: what was begun is answered, the rest handed back, exit 0, the replica's entry gone",
    rules="P30 P92",
    needs=_PROBE,
    limit_s=90.0,
)
async def drain(site: Site) -> str:
    """One of two replicas; what it handed back comes to the other at once."""
    leaving = (await site.replicas(2))[0]
    parcels = _load(site, 40)
    await _until_at_work(site, leaving, parcels)
    asked = time.monotonic()
    leaving.signal(signal.SIGTERM)
    status = await leaving.wait_ended(_DRAIN_LIMIT_S)
    took_s = time.monotonic() - asked
    expect_equal("the exit status", status, 0)
    scores = await _all_answered(site, parcels)
    handed_back = {(sign.sequence, sign.delivery) for sign in site.postman.signs if sign.word == "-NAK"}
    lost = [s for s in scores if s.delivery > 1 and (s.parcel_sequence, s.delivery - 1) not in handed_back]
    expect(not lost, f"{len(lost)} parcels were neither answered nor handed back: they came again only after ack_wait")
    name = leaving.ready.replica if leaving.ready else ""
    expect(name not in await replica_names(site), f"the entry of {name} is still in the bucket of replicas")
    return f"ended after {took_s:.1f} s, handed back {sum(score.delivery > 1 for score in scores)}"


@case(
    "program.expired-meanwhile",
    "what ran out while no replica was there is EXPIRED by the broker's clock; the rest is scored",
    rules="P71 P72",
    limit_s=90.0,
)
async def expired_meanwhile(site: Site) -> None:
    """Two parcels wait for a program that starts."""
    for program in await site.replicas(1):
        program.signal(signal.SIGTERM)
        await program.wait_ended(_DRAIN_LIMIT_S)
    late = site.postman.parcel(site.inputs.table(1), site.inputs.table(1), budgets_s=(0.05, 600.0))
    in_time = site.postman.parcel(site.inputs.table(2))
    await site.postman.send(late)
    await site.postman.send(in_time)
    await site.mend()
    check_items(await site.postman.score_of(late), late, "EXPIRED", "")
    check_items(await site.postman.score_of(in_time), in_time)


@case(
    "program.broker-restart",
    "after the broker was killed and is back, parcels are scored again within 2 s, without a restart",
    rules="P94",
    limit_s=60.0,
)
async def broker_restart(site: Site) -> str:
    """Twice; the process is the same."""
    program = (await site.replicas(1))[0]
    slowest_s = 0.0
    for _ in range(2):
        back = await site.restart_broker()
        parcel = site.postman.parcel(site.inputs.table(1))
        await site.postman.send(parcel)
        check_items(await site.postman.score_of(parcel, limit_s=6.0), parcel)
        slowest_s = max(slowest_s, time.monotonic() - back)
    expect(slowest_s < _BACK_LIMIT_S, f"it took {slowest_s:.1f} s; the limit is {_BACK_LIMIT_S:g} s")
    expect(program.is_running, "the program ended")
    check_outputs(site, (await site.caller.score(site.inputs.table(1))).outputs, 1)
    return f"after {slowest_s:.2f} s"


@case(
    "program.killed-by-row",
    "a row that ends the process is given up in the end; what comes after is scored",
    rules="P25 P27",
    needs=_PROBE,
    limit_s=120.0,
)
async def killed_by_row(site: Site) -> str:
    """The kit starts the program again each time."""
    parcel = site.postman.parcel(site.inputs.command("crash"))
    await site.postman.send(parcel)
    deaths = 0
    while not site.postman.arrivals_of(parcel):
        program = (await site.replicas(1))[0]
        ended = asyncio.create_task(program.wait_ended(_DRAIN_LIMIT_S))
        answered = asyncio.create_task(site.postman.score_of(parcel, limit_s=_DRAIN_LIMIT_S))
        done, _ = await asyncio.wait((ended, answered), return_when=asyncio.FIRST_COMPLETED)
        await end_tasks(*{ended, answered} - done)
        for task in done:
            task.result()
        deaths += ended in done
    check_items(await site.postman.score_of(parcel), parcel, "MODEL_FAILED")
    after = site.postman.parcel(site.inputs.table(1))
    await site.postman.send(after)
    check_items(await site.postman.score_of(after), after)
    return f"given up after {deaths} deaths"
