"""A model that starts in the past: real nats-server, real processes."""

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

import pytest
from rendezvous_proto.errors import ErrorCode, InvalidRequestError
from rendezvous_proto.frames import FrameView
from rendezvous_proto.postbox import durable_stream
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk.consumer import ModelConsumer
from rendezvous_sdk.environment import parse_since
from rendezvous_sdk.options import ServeOptions

pytestmark = pytest.mark.timeout(120)
NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30d", NOW - dt.timedelta(days=30)),
        ("1.5h", NOW - dt.timedelta(minutes=90)),
        ("90s", NOW - dt.timedelta(seconds=90)),
        ("all", dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
        ("99999999d", dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
        ("2026-03-01", dt.datetime(2026, 3, 1, tzinfo=dt.UTC)),
        ("2026-03-01T12:00:00+01:00", dt.datetime(2026, 3, 1, 11, tzinfo=dt.UTC)),
    ],
)
def test_a_moment_of_the_past_is_read(text: str, moment: dt.datetime) -> None:
    """A duration counts from now, a time without a zone is UTC, and nothing lies before 1970."""
    assert parse_since(text, now=NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "30", "-3d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """The message says what to write."""
    with pytest.raises(InvalidRequestError, match="write a duration before now"):
        parse_since(text)


@pytest.mark.parametrize(
    ("fields", "fault"), [({"since": dt.datetime(2026, 3, 1)}, "zone"), ({"since": NOW, "postbox": False}, "postbox")]
)
def test_a_beginning_that_makes_no_sense_is_refused(fields: dict[str, Any], fault: str) -> None:
    """A time without a zone, and one for a postbox that is not read."""
    with pytest.raises(InvalidRequestError, match=fault):
        ServeOptions(endpoint="e", name="m", **fields)


async def test_history_is_scored_though_it_has_expired(
    nats_server: NatsServer, router: Any, start_model: Any, until: Callable[..., Any]
) -> None:
    """With `since`, what was stored before the start is scored; what expires afterwards is not, as ever."""
    old = [await router.send({"x": [1.0 * i]}, budget_s=0.001) for i in range(20)]
    fresh_only = start_model("halve", "--name", "fresh", "--nats", nats_server.url)
    fresh_only.wait_ready()
    served = start_model("halve", "--name", "m", "--version", "2", "--nats", nats_server.url, "--since", "1h")
    served.wait_ready()
    scores = await router.wait_scores(set(old))
    assert {score.model for score in scores.values()} == {"m"}
    assert [FrameView(scores[each].outputs)["half"].tolist() for each in old] == [[0.5 * i] for i in range(20)]
    expired = await router.send({"x": [1.0]}, budget_s=0.0)
    await until(lambda: sum(score.parcel_id == expired for score in router.scores) == 2)
    live = [score for score in router.scores if score.parcel_id == expired]
    assert {(score.model, int(score.items[0].error.code)) for score in live} == {
        ("m", ErrorCode.EXPIRED),
        ("fresh", ErrorCode.EXPIRED),
    }


async def test_a_consumer_that_began_elsewhere_is_told_of(router: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Where a version has read its postbox before, `since` changes nothing, and the log says so once."""
    await ModelConsumer(router.nc, ServeOptions(endpoint="e", name="m")).ensure()
    caplog.set_level(logging.WARNING)
    again = ModelConsumer(router.nc, ServeOptions(endpoint="e", name="m", since=NOW))
    await again.ensure()
    await again.ensure()
    assert len([record for record in caplog.records if "did not begin" in record.message]) == 1
    info = await router.nc.jetstream().consumer_info(durable_stream("e"), "m__1")
    assert info.config.opt_start_time is None
