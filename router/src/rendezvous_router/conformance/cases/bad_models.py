"""Models that misbehave: reported by name, in the language's own words, and never the end of the process."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

from rendezvous_proto import v1

from rendezvous_router.conformance.case import Need, expect, expect_equal, group
from rendezvous_router.conformance.cases._checks import check_echo, check_items, check_message
from rendezvous_router.conformance.site import SCORING_LIMIT_S, Site

case = group("Bad models")

_RAISED = re.compile(r"the model raised ([^\s:]+): (.*)")
_LONG = "a word and " * 60

Told = Callable[[Site, v1.Error], None]


def _check_raised(error: v1.Error, message: str) -> None:
    match = _RAISED.fullmatch(error.message)
    expect(match, f"the message is {error.message!r}; expected 'the model raised <Kind>: <message>'")
    assert match is not None, "just checked"
    expect(match[2].startswith(message), f"the author's message {message!r} came as {match[2]!r}")
    expect_equal("the attribute `exception`", error.attributes.get("exception", ""), match[1])


def _check_limit(error: v1.Error) -> None:
    check_message(error, "longer than", "scoring limit", f"{SCORING_LIMIT_S:g} s")


# name, command, what it is, code of the error, what its message holds
_RAISES = "raised"
_LIMIT = "limit"
_COMMANDS: list[tuple[str, str, str, str, str]] = [
    ("fail", "fail:no luck today", "an error with a message", "MODEL_FAILED", _RAISES),
    ("fail-unicode", "fail:größer als 東京", "an error whose message is not ASCII", "MODEL_FAILED", _RAISES),
    ("fail-long", f"fail:{_LONG}", "an error with a long message", "MODEL_FAILED", _RAISES),
    ("fail-lines", "fail:one\nand two", "an error with a message of several lines", "MODEL_FAILED", _RAISES),
    ("error", "error:worse", "a severe error", "MODEL_FAILED", _RAISES),
    ("wrong-rows", "wrong-rows", "a row too few", "INVALID_OUTPUT", "row"),
    ("wrong-type", "wrong-type", "another type", "INVALID_OUTPUT", "fp64"),
    ("missing-column", "missing-column", "an absent column", "INVALID_OUTPUT", "strict"),
    ("nan", "nan", "NaN where it is not allowed", "INVALID_OUTPUT", "strict"),
]


def _check_told(error: v1.Error, command: str, told: str) -> None:
    check_message(error)
    if told == _RAISES:
        message = " ".join(command.partition(":")[2].split())
        _check_raised(error, message[:280])
    elif told == _LIMIT:
        _check_limit(error)
    else:
        check_message(error, told)


def _over_grpc(command: str, code: str, told: str) -> Callable[[Site], Coroutine[Any, Any, None]]:
    async def check(site: Site) -> None:
        """The call fails with the error, and the next one is answered."""
        table = site.inputs.command("", command)
        error = (await site.caller.refused(table)).expect("INTERNAL", code)
        _check_told(error, command, told)
        good = site.inputs.table(2)
        check_echo(good, (await site.caller.score(good)).outputs)

    return check


def _in_parcel(command: str, code: str, told: str) -> Callable[[Site], Coroutine[Any, Any, None]]:
    async def check(site: Site) -> None:
        """Its request fails with the error, those beside it and the next parcel are answered."""
        parcel = site.postman.parcel(
            site.inputs.table(1), site.inputs.command(command, first=1), site.inputs.table(2, first=2)
        )
        sequence = await site.postman.send(parcel)
        score = await site.postman.score_of(parcel)
        check_items(score, parcel, "", code, "")
        _check_told(score.items[1].error, command, told)
        await site.postman.settled(sequence)
        after = site.postman.parcel(site.inputs.table(1))
        await site.postman.send(after)
        check_items(await site.postman.score_of(after), after)

    return check


for _name, _command, _what, _code, _told in _COMMANDS:
    case(f"grpc.model-{_name}", f"{_what}: {_code}, in its own words", rules="P27 P81 P82", needs=[Need.PROBE])(
        _over_grpc(_command, _code, _told)
    )
    case(
        f"postbox.model-{_name}",
        f"{_what}, in a parcel: {_code}, alone",
        rules="P27 P81",
        needs=[Need.PUBLISH, Need.PROBE],
    )(_in_parcel(_command, _code, _told))


@case(
    "grpc.model-hang",
    "a model that loops for ever is interrupted at its scoring limit",
    rules="P24a",
    needs=[Need.PROBE, Need.RUN],
    limit_s=20.0,
)
async def hang(site: Site) -> None:
    """Busy, without any I/O."""
    refusal = await site.caller.refused(site.inputs.command("hang"))
    _check_limit(refusal.expect("INTERNAL", "MODEL_FAILED"))
    await site.caller.score(site.inputs.command(""))


@case(
    "postbox.model-hang",
    "a parcel on which the model loops for ever is answered, and what comes after is scored",
    rules="P24a",
    needs=[Need.PUBLISH, Need.PROBE, Need.RUN],
    limit_s=20.0,
)
async def hang_in_parcel(site: Site) -> None:
    """Answered once: the parcel was defended meanwhile."""
    await _over_limit(site, "hang")


@case(
    "postbox.model-sleeps",
    "a model that waits beyond its scoring limit is interrupted or left behind",
    rules="P24a",
    needs=[Need.PUBLISH, Need.PROBE, Need.RUN],
    limit_s=20.0,
)
async def sleep_in_parcel(site: Site) -> None:
    """In a call that need not heed an interruption."""
    await _over_limit(site, "sleep:30000")


async def _over_limit(site: Site, command: str) -> None:
    parcel = site.postman.parcel(site.inputs.command(command))
    sequence = await site.postman.send(parcel)
    score = await site.postman.score_of(parcel, limit_s=SCORING_LIMIT_S + 6.0)
    check_items(score, parcel, "MODEL_FAILED")
    _check_limit(score.items[0].error)
    await site.postman.settled(sequence)
    expect_equal("the number of the delivery", score.delivery, 1)
    after = site.postman.parcel(site.inputs.table(1))
    await site.postman.send(after)
    check_items(await site.postman.score_of(after), after)
