"""The probe of the Python SDK, spoilt: each lie breaks one rule, and the conformance kit must catch it.

Run: `python -m tests.support.liars LIE...`; served as `python -m rendezvous_sdk.probe` is.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from rendezvous_proto import v1
from rendezvous_proto.errors import ErrorCode
from rendezvous_proto.postbox import durable_stream, durable_subjects, score_subject
from rendezvous_sdk import grpc_server, parcel_work, postbox, probe, registration, replica, score_spans, scoring, thread
from rendezvous_sdk.consumer import ModelConsumer


def spoil_reply(spoil: Callable[[v1.ParcelScore, v1.Parcel], None]) -> None:
    """Changes every score before it is sent."""
    honest = scoring.ParcelScorer._reply

    def reply(self: Any, work: Any, started: int, finished: int) -> v1.ParcelScore:
        score = honest(self, work, started, finished)
        spoil(score, work.delivery.parcel)
        return score

    scoring.ParcelScorer._reply = reply  # type: ignore[method-assign]


def spoil_echo(spoil: Callable[[Any], Any]) -> None:
    """Changes every table that the model gives back."""
    echo = probe._echo
    probe._echo = lambda table: spoil(echo(table))


def swapped_ids() -> None:
    """Answers the requests of a parcel in another order."""

    def spoil(score: v1.ParcelScore, parcel: v1.Parcel) -> None:
        ids = [item.request_id for item in reversed(score.items)]
        for item, request_id in zip(score.items, ids, strict=True):
            item.request_id = request_id

    spoil_reply(spoil)


def ack_first() -> None:
    """Acknowledges before the score is published."""
    honest = postbox.answer_parcel

    async def answer(nc: Any, options: Any, msg: Any, parcel: v1.Parcel, payload: bytes) -> bool:
        await msg.ack()
        return await honest(nc, options, msg, parcel, payload)

    postbox.answer_parcel = answer


def ack_at_receipt() -> None:
    """Acknowledges what it takes at once, so that nothing comes again when it dies."""
    honest = postbox.PostboxReader._take

    def take(self: Any, msg: Any) -> None:
        honest(self, msg)
        self._acks = [*getattr(self, "_acks", []), asyncio.ensure_future(msg.ack())]

    postbox.PostboxReader._take = take  # type: ignore[method-assign]


def answers_twice() -> None:
    """Publishes every score a second time."""
    honest = postbox.answer_parcel

    async def answer(nc: Any, options: Any, msg: Any, parcel: v1.Parcel, payload: bytes) -> bool:
        await nc.publish(score_subject(options.endpoint, options.name, parcel.router), payload)
        return await honest(nc, options, msg, parcel, payload)

    postbox.answer_parcel = answer


def ignores_missing() -> None:
    """Gives zero where a row is missing."""
    spoil_echo(lambda table: table.assign(int32=table["int32"].fillna(0)))


def rounds_integers() -> None:
    """Sends wide integers through floats."""
    spoil_echo(lambda table: table.assign(int64=table["int64"].astype(float).astype(table["int64"].dtype)))


def sorts_rows() -> None:
    """Answers the rows in an order of its own."""
    spoil_echo(lambda table: table.sort_values("uint16", kind="stable").reset_index(drop=True))


def mute_traces() -> None:
    """Answers no trace context."""
    scoring.is_traceparent = score_spans.is_traceparent = lambda _text: False  # type: ignore[attr-defined]


def invents_ids() -> None:
    """Makes ids that are no UUIDs."""
    grpc_server.new_id = lambda: f"id-{time.time_ns()}"  # type: ignore[attr-defined]


def takes_any_id() -> None:
    """Takes any request id."""
    grpc_server.check_name = lambda _kind, value: value  # type: ignore[attr-defined]


def fails_as_one() -> None:
    """Fails a whole table for one bad row."""

    def score_items(self: Any, table: Any, items: Any) -> Any:
        return [self._attempt(table, 0, len(items.counts), items)]

    scoring.ParcelScorer._score_items = score_items  # type: ignore[method-assign]


def shows_stack() -> None:
    """Puts a stack trace into its messages."""
    scoring._model_failed = lambda error: scoring.ModelFailedError(  # type: ignore[attr-defined]
        f'Traceback (most recent call last): File "model.py": {error}', {"exception": type(error).__name__}
    )


def own_clock() -> None:
    """Tells expiry by its own clock and the absolute deadline."""

    def admit(self: Any, refusal: Any) -> None:
        now = time.time_ns() // 1000
        items = enumerate(self.items)
        self.errors = {i: parcel_work._expired(0, 0) for i, item in items if now >= item.deadline_unix_us}
        self.live = [index for index in range(len(self.items)) if index not in self.errors]
        self.live_rows = [self.rows[index] for index in self.live]

    parcel_work.ParcelWork.admit = admit  # type: ignore[method-assign]


def drops_late() -> None:
    """Answers EXPIRED where its own answer is late."""

    def spoil(score: v1.ParcelScore, parcel: v1.Parcel) -> None:
        for item, asked in zip(score.items, parcel.items, strict=True):
            if score.timing.finished_unix_us > parcel.sealed_unix_us + asked.budget_us:
                item.rows = 0
                item.error.code = ErrorCode.EXPIRED.value  # type: ignore[assignment]
                score.ClearField("outputs")

    spoil_reply(spoil)


def returns_garbage() -> None:
    """Hands back what it cannot parse, so that it comes for ever."""
    honest = postbox.answer_parcel

    async def answer(nc: Any, options: Any, msg: Any, parcel: v1.Parcel, payload: bytes) -> bool:
        if parcel.items:
            return await honest(nc, options, msg, parcel, payload)
        await msg.nak()
        return True

    postbox.answer_parcel = answer


def no_progress() -> None:
    """Sends no in-progress signals."""

    async def silence(self: Any) -> None:
        await asyncio.Event().wait()

    postbox.PostboxReader._signal_progress = silence  # type: ignore[method-assign]


def no_limit() -> None:
    """Lets the model run for ever."""
    thread.ModelThread._watch = lambda self: None  # type: ignore[method-assign]


def quits_at_once() -> None:
    """Ends at SIGTERM without draining."""
    replica._stop_on_signals = lambda *_: signal.signal(  # type: ignore[assignment]
        signal.SIGTERM, lambda *_: os._exit(0)
    )


def makes_streams() -> None:
    """Makes the endpoint's stream itself."""

    async def wait_until_ensured(self: Any) -> None:
        await self._js.add_stream(name=durable_stream(self._endpoint), subjects=durable_subjects(self._endpoint))
        await self.ensure()

    ModelConsumer.wait_until_ensured = wait_until_ensured  # type: ignore[method-assign]


def unregistered() -> None:
    """Registers nowhere."""
    registration.Registration.start = lambda self: self._was_registered.set()  # type: ignore[method-assign]


def own_ack_wait() -> None:
    """Leaves `ack_wait` at a minute."""
    config = ModelConsumer._config

    def slow(self: Any) -> Any:
        made = config(self)
        made.ack_wait = 60.0
        return made

    ModelConsumer._config = slow  # type: ignore[method-assign]
    ModelConsumer._is_as_wanted = lambda self, info: True  # type: ignore[method-assign]


def dies_with_broker() -> None:
    """Ends when the connection is lost."""
    connect = replica.connect

    async def fragile(*arguments: Any, **options: Any) -> Any:
        made = await connect(*arguments, **options)
        made.disconnect_listeners.append(lambda: os._exit(1))
        return made

    replica.connect = fragile  # type: ignore[attr-defined]


LIES: dict[str, Callable[[], None]] = {
    lie.__name__: lie
    for lie in (
        swapped_ids,
        ack_first,
        ack_at_receipt,
        answers_twice,
        ignores_missing,
        rounds_integers,
        sorts_rows,
        mute_traces,
        invents_ids,
        takes_any_id,
        fails_as_one,
        shows_stack,
        own_clock,
        drops_late,
        returns_garbage,
        no_progress,
        no_limit,
        quits_at_once,
        makes_streams,
        unregistered,
        own_ack_wait,
        dies_with_broker,
    )
}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        LIES[name]()
    sys.argv[1:] = []
    probe.main()
