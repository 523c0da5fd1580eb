"""Continuous pull against a real nats-server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from rendezvous_router.nats_server import NatsServer, find_free_port
from rendezvous_sdk.nats_connection import Connection, connect
from rendezvous_sdk.pull import ContinuousPull

STREAM, CONSUMER = "S", "c"


async def until(condition: Callable[[], object], *, timeout_s: float = 15.0) -> None:
    """Waits until *condition* holds; fails after *timeout_s*."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def make_consumer(nc: Connection, ack_wait_s: float = 1.0) -> None:
    """Makes the stream and a durable pull consumer on all of it."""
    js = nc.jetstream()
    await js.add_stream(name=STREAM, subjects=["s"])
    await js.add_consumer(
        STREAM,
        ConsumerConfig(durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT, ack_wait=ack_wait_s),
    )


@asynccontextmanager
async def connected(server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to *server*, closed at the end."""
    nc = await connect(server.url, name="test", timeout_s=5)
    try:
        yield nc
    finally:
        await nc.close()


async def publish(nc: Connection, bodies: list[str]) -> None:
    """Publishes each body and waits until it is stored."""
    js = nc.jetstream()
    for body in bodies:
        await js.publish("s", body.encode(), timeout=5)


async def test_messages_arrive_in_order_and_idle_time_does_not_stop_them(nats_server: NatsServer) -> None:
    """A burst, an idle stretch with heartbeats only, and another burst are all delivered once, in order."""
    seen: list[str] = []

    async def take(msg: Msg) -> None:
        seen.append(msg.data.decode())
        await msg.ack()

    async with connected(nats_server) as nc:
        await make_consumer(nc)
        pull = await ContinuousPull.start(
            nc, stream=STREAM, consumer=CONSUMER, on_message=take, credit=4, heartbeat_s=0.1
        )
        await publish(nc, [str(i) for i in range(50)])
        heard = pull._heard_at
        await until(lambda: len(seen) == 50 and pull._heard_at > heard + 0.5)
        await publish(nc, [str(i) for i in range(50, 100)])
        await until(lambda: len(seen) == 100)
        assert seen == [str(i) for i in range(100)]
        assert pull.rebuilds == 0
        await pull.stop()


@pytest.mark.parametrize("credit", [1, 2, 5])
async def test_credit_bounds_what_is_unprocessed(nats_server: NatsServer, credit: int) -> None:
    """With manual release no more than `credit` messages are handed over, until some are released."""
    held: list[Msg] = []
    async with connected(nats_server) as nc:
        await make_consumer(nc, ack_wait_s=30)
        pull = await ContinuousPull.start(
            nc,
            stream=STREAM,
            consumer=CONSUMER,
            on_message=held.append,
            credit=credit,
            heartbeat_s=0.1,
            manual_release=True,
        )
        await publish(nc, [str(i) for i in range(12)])
        seen = 0
        while seen < 12:
            await until(lambda: held)
            await nc.flush()
            assert len(held) <= credit
            assert pull.held == len(held)
            seen += len(held)
            for msg in held:
                await msg.ack()
            count = len(held)
            held.clear()
            await pull.release(count)
        info = await nc.jetstream().consumer_info(STREAM, CONSUMER)
        assert info.num_pending == 0
        await pull.stop()


async def test_standing_requests_are_renewed_when_they_run_out(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the server says that a request ran out, the next one stands at once, without a rebuild."""
    monkeypatch.setattr("rendezvous_sdk.pull._EXPIRES_S", 0.4)
    seen: list[Msg] = []
    async with connected(nats_server) as nc:
        await make_consumer(nc)
        pull = await ContinuousPull.start(
            nc, stream=STREAM, consumer=CONSUMER, on_message=seen.append, credit=4, heartbeat_s=0.1
        )
        requests: list[int] = []
        request = pull._request

        async def counted(batch: int, expires_s: float) -> None:
            requests.append(batch)
            assert pull._standing + pull._held + batch <= 4
            await request(batch, expires_s)

        pull._request = counted  # type: ignore[method-assign]
        await until(lambda: len(requests) >= 6)
        await publish(nc, ["late"])
        await until(lambda: seen)
        assert pull.rebuilds == 0
        await pull.stop()


async def test_a_killed_server_is_waited_for(nats_server: NatsServer) -> None:
    """After a SIGKILL and a restart of the server, messages flow again without anybody's help."""
    seen: set[str] = set()

    async def take(msg: Msg) -> None:
        seen.add(msg.data.decode())
        await msg.ack()

    async with connected(nats_server) as nc:
        await make_consumer(nc)
        pull = await ContinuousPull.start(nc, stream=STREAM, consumer=CONSUMER, on_message=take, heartbeat_s=0.2)
        await publish(nc, ["before"])
        await until(lambda: "before" in seen)
        nats_server.kill()
        await until(lambda: not nc.is_connected)
        nats_server.start()
        await until(lambda: nc.is_connected)
        await publish(nc, ["after"])
        await until(lambda: "after" in seen)
        assert pull.rebuilds >= 1
        await pull.stop()


async def test_a_deleted_consumer_is_made_again(nats_server: NatsServer) -> None:
    """`ensure` is called when the consumer is gone, repeatedly while it fails, and messages flow again."""
    seen: set[str] = set()
    attempts = 0

    async with connected(nats_server) as nc:

        async def ensure() -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise TimeoutError("not yet")
            await make_consumer(nc)

        await make_consumer(nc)
        pull = await ContinuousPull.start(
            nc,
            stream=STREAM,
            consumer=CONSUMER,
            on_message=lambda msg: seen.add(msg.data.decode()),
            heartbeat_s=0.1,
            ensure=ensure,
        )
        await nc.jetstream().delete_consumer(STREAM, CONSUMER)
        await until(lambda: attempts >= 2)
        await publish(nc, ["x"])
        await until(lambda: "x" in seen)
        await pull.stop()


async def test_silence_leads_to_a_new_subscription(nats_server: NatsServer) -> None:
    """When the server forgets the requests without a word, the liveness rule rebuilds the subscription."""
    seen: set[str] = set()
    async with connected(nats_server) as nc:
        await make_consumer(nc)
        pull = await ContinuousPull.start(
            nc,
            stream=STREAM,
            consumer=CONSUMER,
            on_message=lambda msg: seen.add(msg.data.decode()),
            heartbeat_s=0.1,
        )
        subscription = pull._subscription
        assert subscription is not None
        await nc._send_unsubscribe(subscription._id)
        await until(lambda: pull.rebuilds == 1)
        await publish(nc, ["x"])
        await until(lambda: "x" in seen)
        await pull.stop()


async def test_stop_gives_back_what_is_queued(nats_server: NatsServer) -> None:
    """`stop` finishes the message at work and naks the rest, which another subscriber gets at once."""
    started = asyncio.Event()
    go_on = asyncio.Event()
    first: list[str] = []
    second: list[str] = []

    async def slow(msg: Msg) -> None:
        started.set()
        await go_on.wait()
        first.append(msg.data.decode())
        await msg.ack()

    async with connected(nats_server) as nc:
        await make_consumer(nc, ack_wait_s=30)
        pull = await ContinuousPull.start(
            nc, stream=STREAM, consumer=CONSUMER, on_message=slow, credit=8, heartbeat_s=0.2
        )
        await publish(nc, [str(i) for i in range(5)])
        await started.wait()
        stopping = asyncio.create_task(pull.stop())
        await until(lambda: pull._stopping)
        go_on.set()
        await stopping

        async def take(msg: Msg) -> None:
            second.append(msg.data.decode())
            await msg.ack()

        other = await ContinuousPull.start(nc, stream=STREAM, consumer=CONSUMER, on_message=take, heartbeat_s=0.2)
        await until(lambda: len(first) + len(second) == 5, timeout_s=5)
        assert sorted(first + second) == [str(i) for i in range(5)]
        await other.stop()


async def test_a_failing_callback_leaves_the_message_to_come_again(nats_server: NatsServer) -> None:
    """An error in `on_message` is logged, the message is delivered again after ack_wait, others go on."""
    deliveries: list[int] = []

    async def fail_once(msg: Msg) -> None:
        deliveries.append(msg.metadata.num_delivered)
        if msg.metadata.num_delivered == 1:
            raise ValueError("first time")
        await msg.ack()

    async with connected(nats_server) as nc:
        await make_consumer(nc, ack_wait_s=0.2)
        pull = await ContinuousPull.start(nc, stream=STREAM, consumer=CONSUMER, on_message=fail_once, heartbeat_s=0.2)
        await publish(nc, ["x"])
        await until(lambda: deliveries == [1, 2])
        await pull.stop()


async def test_connecting_to_nothing_says_where() -> None:
    """With a time limit, a missing server is a ConnectionError that names the address without credentials."""
    free_port = find_free_port()
    with pytest.raises(ConnectionError, match=rf"nats://127\.0\.0\.1:{free_port} within 0\.3 s"):
        await connect(f"nats://user:secret@127.0.0.1:{free_port}", name="test", timeout_s=0.3)
