"""The conformance kit on the Python SDK, and on models that lie: it must catch each."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from rendezvous_router.conformance import CASES, Report, SiteOptions, Status, parse_target, run_kit

from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(240)

PROBE = f"{sys.executable} -m rendezvous_sdk.probe"

# Lies that do not get into each other's way: for each, the case that catches it and what it says.
LIARS: list[dict[str, tuple[str, str]]] = [
    {
        "sorts_rows": ("grpc.score-order", "not answered in reverse"),
        "ignores_missing": ("grpc.echo-int32", r"missing rows .* came back as \[\]"),
        "rounds_integers": ("grpc.echo-wide-int64", "came back as"),
        "mute_traces": ("grpc.trace", "answered is the traceparent ''"),
        "invents_ids": ("grpc.request-id-made", "is no UUID"),
        "takes_any_id": ("grpc.bad-request-id", "instead of being refused"),
        "fails_as_one": ("postbox.one-bad-row", "the errors are"),
        "shows_stack": ("grpc.model-fail", "has a stack trace"),
        "unregistered": ("postbox.registration", "there is no bucket rv_models"),
        "makes_streams": ("program.start", "ready before its streams existed|made streams itself"),
    },
    {
        "ack_first": ("postbox.ack-after-score", "acknowledged .* before its score"),
        "own_clock": ("postbox.clock-off", "the errors are"),
        "no_limit": ("postbox.model-hang", "no score of parcel"),
        "own_ack_wait": ("postbox.consumer", "ack_wait"),
    },
    {
        "swapped_ids": ("postbox.many-requests", "the answered requests"),
        "answers_twice": ("postbox.nothing-else", "deliveries with two answers"),
        "drops_late": ("postbox.late-is-scored", "the errors are"),
        "returns_garbage": ("postbox.malformed", "neither acknowledged nor terminated"),
        "no_progress": ("program.long-scoring", "the number of the delivery is|the deliveries is|4 or more"),
        "quits_at_once": ("program.drain", "handed back|still in the bucket"),
        "dies_with_broker": (
            "program.broker-restart",
            "no score of parcel|the program ended|reconnect|ConnectionClosed|Timeout",
        ),
    },
    {
        "ack_at_receipt": ("program.killed", "no score of parcel"),
    },
]


async def kit(command: str, *only: str, **known: str) -> Report:
    """Runs cases on a program."""
    options = SiteOptions(target=parse_target("conformance/m"), run=command)
    return await run_kit(options, only=only, known=known)


def outcomes(report: Report) -> dict[str, Status]:
    """What came of each case."""
    return {result.id: result.status for result in report.results}


async def test_the_python_sdk_conforms() -> None:
    """Every case passes on the probe; none is left out."""
    report = await kit(PROBE)
    bad = [f"{result.id}: {result.detail}" for result in report.results if result.status is not Status.PASSED]
    assert bad == []
    assert list(outcomes(report)) == list(CASES)


@pytest.mark.parametrize("lies", LIARS, ids=lambda lies: "+".join(lies)[:40])
async def test_the_kit_catches_liars(lies: dict[str, tuple[str, str]]) -> None:
    """For each lie, the case that is about it fails, and says why."""
    command = f"{sys.executable} -m tests.support.liars {' '.join(lies)}"
    report = await kit(command, *[case for case, _ in lies.values()])
    results = {result.id: result for result in report.results}
    wrong = []
    for lie, (case, detail) in lies.items():
        result = results[case]
        if result.status is not Status.FAILED or re.search(detail, result.detail) is None:
            wrong.append(f"{lie}: {case} {result.status}: {result.detail}")
    assert wrong == []
    assert not report.is_good


async def test_known_failures_are_run_and_must_fail() -> None:
    """A failure that is known is reported with its reason; a case that passes all the same fails the run."""
    known = {"grpc.trace": "not yet", "grpc.score": "not yet either"}
    command = f"{sys.executable} -m tests.support.liars mute_traces"
    options = SiteOptions(target=parse_target("conformance/m"), run=command)
    report = await run_kit(options, only=("grpc.trace",), known=known)
    assert outcomes(report) == {"grpc.trace": Status.KNOWN_FAILURE}
    assert report.results[0].detail.startswith("not yet (")
    assert report.is_good
    report = await run_kit(options, only=("grpc.score", "grpc.trace"), known=known)
    assert outcomes(report)["grpc.score"] is Status.NOW_PASSES
    assert not report.is_good


async def test_a_running_installation_is_not_disturbed(stack: Stack) -> None:
    """Without --publish nothing is put into the postbox; with it the kit's parcels are scored beside the router's."""
    spec: dict[str, Any] = {
        "endpoint": "sum",
        "inputs": [],
        "outputs": [{"name": "strict", "type": "FP64"}],
        "models": {"probe": {"role": "champion"}},
        "policy": {"deadline": "1s"},
    }
    await stack.apply(spec)
    stack.start_router()
    stack.start_model("rendezvous_sdk.probe:PROBE", name="probe")
    quiet = SiteOptions(target=parse_target("sum/probe"), nats=stack.server.url)
    only = ("grpc.describe", "postbox.consumer", "postbox.one-request", "program.killed")
    assert outcomes(await run_kit(quiet, only=only)) == {
        "grpc.describe": Status.PASSED,
        "postbox.consumer": Status.PASSED,
        "postbox.one-request": Status.NOT_APPLICABLE,
        "program.killed": Status.NOT_APPLICABLE,
    }
    loud = SiteOptions(target=parse_target("sum/probe"), nats=stack.server.url, publish=True)
    report = await run_kit(loud, only=("postbox",))
    assert [f"{r.id}: {r.detail}" for r in report.results if r.status is Status.FAILED] == []
    needs_run = {result.id for result in report.results if result.status is Status.NOT_APPLICABLE}
    assert needs_run == {"postbox.model-hang", "postbox.model-sleeps"}


async def test_a_model_without_signature_over_grpc(stack: Stack, tmp_path: Path) -> None:
    """What asks for the probe or the postbox is not applicable to a plain server, with a reason; the rest passes."""
    served = stack.start_model("tests.support.models:steady", "--no-postbox", endpoint="sum")
    address = served.ready_line.rpartition(" ")[2]
    example = ({"a": 1.0, "b": 2},)
    report = await run_kit(SiteOptions(target=parse_target(f"grpc://{address}"), examples=example))
    assert [f"{r.id}: {r.detail}" for r in report.results if r.status is Status.FAILED] == []
    assert all(r.detail for r in report.results if r.status is Status.NOT_APPLICABLE)
    assert report.count(Status.PASSED) >= 20
