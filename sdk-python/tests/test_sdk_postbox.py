"""Served models at a real postbox: real nats-server, real processes."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nats.js.errors import KeyNotFoundError
from rendezvous_proto import v1
from rendezvous_proto.errors import ErrorCode
from rendezvous_proto.frames import FrameView
from rendezvous_proto.postbox import MODELS_BUCKET, REPLICAS_BUCKET, durable_stream
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk.postbox import next_credit
from rendezvous_sdk.scoring import Delivery

pytestmark = pytest.mark.timeout(120)


def pids(score: Any) -> set[int]:
    """Processes that computed the rows of a score."""
    return set(FrameView(score.outputs)["pid"].tolist())


async def test_parcels_are_scored_and_a_bad_row_fails_alone(
    nats_server: NatsServer, router: Any, start_model: Any
) -> None:
    """A burst of parcels is answered once each; the request with the bad row alone has an error."""
    served = start_model("halve", "--name", "m", "--version", "1.0", "--nats", nats_server.url)
    ready = served.wait_ready()
    ids = [await router.send({"x": [1.0 * i]}, {"x": [2.0 * i, 3.0 * i]}) for i in range(60)]
    bad = await router.send({"x": [1.0]}, {"x": [-1.0]}, {"x": [5.0]})
    scores = await router.wait_scores({*ids, bad})
    assert len(router.scores) == 61
    for index, parcel_id in enumerate(ids):
        score = scores[parcel_id]
        assert FrameView(score.outputs)["half"].tolist() == [0.5 * index, 1.0 * index, 1.5 * index]
        assert (score.model, score.version, score.replica) == ("m", "1.0", ready[4])
    assert [int(item.error.code) for item in scores[bad].items] == [0, ErrorCode.MODEL_FAILED, 0]
    assert FrameView(scores[bad].outputs)["half"].tolist() == [0.5, 2.5]
    info = await router.nc.jetstream().consumer_info(durable_stream("e"), "m__1-0")
    assert (info.num_pending, info.num_ack_pending) == (0, 0)


async def test_a_killed_replica_loses_nothing(
    nats_server: NatsServer, router: Any, start_model: Any, until: Callable[..., Any], tmp_path: Path
) -> None:
    """SIGKILL in the middle of a parcel: another replica answers it after ack_wait."""
    options = ("--name", "m", "--nats", nats_server.url, "--ack-wait", "500ms")
    replicas = [start_model("stall_once", *options) for _ in range(2)]
    for replica in replicas:
        replica.wait_ready()
    marker = tmp_path / "pid"
    parcel = await router.send({"marker": [str(marker)]})
    await until(lambda: marker.exists() and marker.read_text())
    victim = int(marker.read_text())
    os.kill(victim, signal.SIGKILL)
    score = (await router.wait_scores({parcel}))[parcel]
    assert pids(score) == {replica.process.pid for replica in replicas} - {victim}
    assert score.delivery == 2


async def test_long_scoring_is_defended_against_redelivery(
    nats_server: NatsServer, router: Any, start_model: Any
) -> None:
    """Scoring for three times ack_wait is delivered once, though an idle replica waits beside it."""
    options = ("--name", "m", "--nats", nats_server.url, "--ack-wait", "500ms")
    both = [start_model("sleep", *options) for _ in range(2)]
    for served in both:
        served.wait_ready()
    parcel = await router.send({"x": [1.5]})
    score = (await router.wait_scores({parcel}))[parcel]
    info = await router.nc.jetstream().consumer_info(durable_stream("e"), "m__1")
    assert score.delivery == 1
    assert info.delivered.consumer_seq == 1


async def test_sigterm_loses_nothing(nats_server: NatsServer, router: Any, start_model: Any) -> None:
    """A replica that drains under load ends with 0; every parcel is answered, by it or by the other."""
    options = ("--name", "m", "--nats", nats_server.url, "--ack-wait", "30s")
    first, second = start_model("sleep", *options), start_model("sleep", *options)
    first.wait_ready()
    second.wait_ready()
    ids = {await router.send({"x": [0.05]}) for _ in range(40)}
    first.process.terminate()
    assert await asyncio.to_thread(first.process.wait, 10) == 0
    scores = await router.wait_scores(ids, timeout_s=20)
    assert len(router.scores) == len(ids)
    assert set().union(*map(pids, scores.values())) == {first.process.pid, second.process.pid}


async def test_a_second_sigterm_ends_at_once(
    nats_server: NatsServer, router: Any, start_model: Any, until: Callable[..., Any], tmp_path: Path
) -> None:
    """A drain that a hung model holds up can be cut short; its parcel comes to another replica."""
    options = ("--name", "m", "--nats", nats_server.url, "--ack-wait", "500ms")
    first = start_model("stall_once", *options)
    first.wait_ready()
    marker = tmp_path / "pid"
    parcel = await router.send({"marker": [str(marker)]})
    await until(lambda: marker.exists() and marker.read_text())
    first.process.terminate()
    await until(lambda: any("draining" in line for line in first.lines))
    first.process.terminate()
    assert await asyncio.to_thread(first.process.wait, 5) == -signal.SIGTERM
    second = start_model("stall_once", *options)
    second.wait_ready()
    assert pids((await router.wait_scores({parcel}))[parcel]) == {second.process.pid}


async def test_expired_parcels_are_skipped_by_the_brokers_clock(
    nats_server: NatsServer, router: Any, start_model: Any, until: Callable[..., Any]
) -> None:
    """What waited beyond its budget before a replica came is answered EXPIRED; what was in time is scored."""
    options = ("--name", "m", "--nats", nats_server.url)
    first = start_model("halve", *options)
    first.wait_ready()
    first.process.terminate()
    assert await asyncio.to_thread(first.process.wait, 10) == 0
    late = await router.send({"x": [1.0]}, budget_s=0.05)
    in_time = await router.send({"x": [1.0]}, budget_s=600)
    start_model("halve", *options).wait_ready()
    scores = await router.wait_scores({late, in_time})
    assert int(scores[late].items[0].error.code) == ErrorCode.EXPIRED
    assert not scores[in_time].items[0].HasField("error")


async def test_a_parcel_that_kills_is_given_up(nats_server: NatsServer, router: Any, start_model: Any) -> None:
    """A row that ends the process is answered MODEL_FAILED at its last delivery; what comes after it is answered.

    What the dying processes had taken ahead is delivered again with it each time, so it may be given up, too.
    """
    served = start_model("die", "--name", "m", "--nats", nats_server.url, "--ack-wait", "500ms", "--replicas", "2")
    served.wait_ready()
    served.wait_ready()
    deadly = await router.send({"x": [-1.0]})
    fine = {await router.send({"x": [1.0]}) for _ in range(5)}
    scores = await router.wait_scores({deadly, *fine}, timeout_s=60)
    assert int(scores[deadly].items[0].error.code) == ErrorCode.MODEL_FAILED
    assert "delivered 5 times" in scores[deadly].items[0].error.message
    failed = [scores[parcel].items[0].error for parcel in fine if scores[parcel].items[0].HasField("error")]
    assert all("delivered 5 times" in error.message for error in failed)
    after = {await router.send({"x": [1.0]}) for _ in range(5)}
    scores = await router.wait_scores(after, timeout_s=30)
    assert not any(scores[parcel].items[0].HasField("error") for parcel in after)
    served.process.terminate()
    assert await asyncio.to_thread(served.process.wait, 15) == 0


async def test_a_restarted_server_is_waited_for(
    nats_server: NatsServer, router: Any, start_model: Any, until: Callable[..., Any]
) -> None:
    """After nats-server was killed and came back, the same process answers again."""
    served = start_model("halve", "--name", "m", "--nats", nats_server.url)
    served.wait_ready()
    await router.wait_scores({await router.send({"x": [1.0]})})
    nats_server.kill()
    await until(lambda: not router.nc.is_connected)
    nats_server.start()
    await until(lambda: router.nc.is_connected)
    await router.wait_scores({await router.send({"x": [2.0]})})
    assert served.process.poll() is None


async def test_a_missing_stream_is_named_and_waited_for(
    nats_server: NatsServer, start_model: Any, until: Callable[..., Any]
) -> None:
    """Before the endpoint is applied, a model says what it waits for, and SIGTERM ends it with 0."""
    served = start_model("halve", "--name", "m", "--nats", nats_server.url)
    await until(lambda: any("waiting for stream RV_e" in line for line in served.lines))
    served.process.terminate()
    assert await asyncio.to_thread(served.process.wait, 10) == 0


async def test_ack_wait_of_an_existing_consumer_follows(nats_server: NatsServer, router: Any, start_model: Any) -> None:
    """A model served with another ack_wait brings its consumer in line."""
    for wait, expected in (("1s", 1.0), ("2500ms", 2.5)):
        served = start_model("halve", "--name", "m", "--nats", nats_server.url, "--ack-wait", wait)
        served.wait_ready()
        info = await router.nc.jetstream().consumer_info(durable_stream("e"), "m__1")
        assert info.config.ack_wait == expected
        served.process.terminate()
        assert await asyncio.to_thread(served.process.wait, 10) == 0


async def test_models_and_replicas_are_registered(
    nats_server: NatsServer, router: Any, start_model: Any, until: Callable[..., Any]
) -> None:
    """The buckets tell what serves, with commit and packages; a drained replica is gone at once."""
    served = start_model("Declared", "--name", "m", "--version", "1.2", "--nats", nats_server.url)
    ready = served.wait_ready()
    js = router.nc.jetstream()
    async with asyncio.timeout(20):
        while True:
            try:
                status = await (await js.key_value(REPLICAS_BUCKET)).get(f"e.m.1-2.{ready[4]}")
                break
            except Exception:  # noqa: BLE001 - the bucket or the key is not there yet
                await asyncio.sleep(0.02)
    replica = json.loads(status.value or b"")
    assert (replica["model"], replica["version"], replica["pid"]) == ("m", "1.2", served.process.pid)
    assert replica["grpc"] == ready[5]
    entry = await (await js.key_value(MODELS_BUCKET)).get("e.m.1-2")
    info = json.loads(entry.value or b"")
    assert (info["name"], info["version"], info["language"], info["task"]) == ("m", "1.2", "python", "regression")
    assert info["signature"]["outputs"] == [{"name": "half", "type": "DATA_TYPE_FP64"}]
    assert {"name": "numpy", "version": np.__version__} in info["packages"]
    assert len(info["sourceControl"]["commit"]) == 40
    os.kill(served.process.pid, signal.SIGTERM)
    assert await asyncio.to_thread(served.process.wait, 10) == 0
    with pytest.raises(KeyNotFoundError):
        await (await js.key_value(REPLICAS_BUCKET)).get(f"e.m.1-2.{ready[4]}")


@pytest.mark.parametrize(
    ("present", "least", "numbers", "took_s", "expected"),
    [
        (4, 4, [1, 1, 1, 1], 0.001, 8),
        (64, 4, [1] * 64, 0.001, 64),
        (16, 4, [1] * 4, 0.008, 10),
        (16, 4, [1], 0.1, 4),
        (16, 4, [1, 2], 0.001, 4),
        (1, 1, [1], 0.0, 1),
    ],
    ids=["quick: twice", "never beyond 64", "what 20 ms allow", "slow: the least", "redelivered: the least", "1 stays"],
)
def test_more_is_taken_ahead_of_a_quick_model(
    present: int, least: int, numbers: list[int], took_s: float, expected: int
) -> None:
    """Credit follows how quickly parcels are scored, and falls back to the least where a replica died."""
    scored = [Delivery(parcel=v1.Parcel(), number=number) for number in numbers]
    assert next_credit(present, least, scored, took_s) == expected
