"""The durable consumer of a model version, and the broker's clock."""

import asyncio
import json
import logging
import time
from dataclasses import replace
from datetime import datetime

from nats import errors
from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.client import JetStreamContext
from rendezvous_proto.postbox import MAX_ACK_PENDING, consumer_name, durable_stream

from rendezvous_sdk.nats_connection import Connection
from rendezvous_sdk.options import MAX_DELIVER, ServeOptions

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 2.0
_REPEAT_LOG_S = 15.0
_REQUEST_TIMEOUT_S = 2.0
_ENSURE_TIMEOUT_S = 0.5
"""A consumer without a leader is silent: whoever asked before there was one is never answered, and asks again."""


def monotonic_us() -> int:
    """Returns the monotonic clock, microseconds since some moment."""
    return time.monotonic_ns() // 1000


class ConsumerDeniedError(errors.Error):
    """The key may not make or change the consumer."""


class ModelConsumer:
    """The durable pull consumer that all replicas of one model version share."""

    def __init__(self, nc: Connection, options: ServeOptions) -> None:
        self.stream = durable_stream(options.endpoint)
        self.name = consumer_name(options.name, options.version)
        self._nc = nc
        self._js = nc.jetstream(timeout=_REQUEST_TIMEOUT_S)
        self._impatient_js = nc.jetstream(timeout=_ENSURE_TIMEOUT_S)
        self._endpoint = options.endpoint
        self._subject = options.subject
        self._ack_wait_s = options.ack_wait_s
        self._since = options.since
        self._is_beginning_told = options.since is None

    async def ensure(self) -> None:
        """Makes the consumer, or brings it in line: what it reads, `ack_wait`, `max_deliver`; waits half a second.

        Where the key does not allow that (a router makes the consumers of models that have keys), a missing consumer is
        waited for, and one that is configured otherwise is used as it is, with a warning.

        Raises:
            nats.errors.Error: the stream is missing, the server refuses.
            TimeoutError: nobody says whether the consumer is there.
        """
        await self._ensure(self._impatient_js)

    async def _ensure(self, asked: JetStreamContext) -> None:
        try:
            info = await asked.consumer_info(self.stream, self.name)
        except js_errors.NotFoundError:
            await self._put(self._config())
            _log.info("made consumer %s of stream %s", self.name, self.stream)
            return
        self._tell_where_it_began(info.config)
        if not self._is_as_wanted(info):
            wanted = replace(
                info.config, ack_wait=self._ack_wait_s, max_deliver=MAX_DELIVER, filter_subject=self._subject
            )
            try:
                await self._put(wanted)
            except ConsumerDeniedError:
                self._keep(info.config)
            else:
                _log.info("consumer %s: reads %s, ack_wait %g s", self.name, self._subject, self._ack_wait_s)

    async def _put(self, config: ConsumerConfig) -> None:
        """Makes or changes the consumer.

        Raises:
            ConsumerDeniedError: the key does not allow it; known from then on until the connection is another one.
        """
        subjects = [f"$JS.API.CONSUMER.{verb}.{self.stream}.{self.name}" for verb in ("CREATE", "DURABLE.CREATE")]
        subjects.append(f"{subjects[0]}.{config.filter_subject}")  # which of them, depends on the client's version
        if not any(map(self._nc.is_denied, subjects)):
            try:
                await self._js.add_consumer(self.stream, config)
            except TimeoutError:
                if not any(map(self._nc.is_denied, subjects)):
                    raise
            else:
                return
        raise ConsumerDeniedError

    def _keep(self, config: ConsumerConfig) -> None:
        if config.filter_subject != self._subject:
            _log.warning(
                "consumer %s reads %s, not %s, and this key may not change it: a router does, once the endpoint is "
                "applied with this enricher in this stage (or with this model)",
                self.name,
                config.filter_subject,
                self._subject,
            )
        there = config.ack_wait or 0
        if there != self._ack_wait_s:
            _log.warning(
                "consumer %s has an ack_wait of %g s, and this key may not change it to %g s: going on with %g s",
                self.name,
                there,
                self._ack_wait_s,
                there,
            )
        if there:
            self._ack_wait_s = there

    @property
    def ack_wait_s(self) -> float:
        """Seconds without a sign of life after which a parcel goes to another replica: as wanted, or as it is."""
        return self._ack_wait_s

    async def wait_until_ensured(self) -> None:
        """Calls `ensure` until it succeeds, for ever, saying what is waited for."""
        pause_s = _FIRST_PAUSE_S
        logged_at = -_REPEAT_LOG_S
        while True:
            try:
                await self._ensure(self._js)
            except (errors.Error, TimeoutError, OSError) as error:
                if time.monotonic() - logged_at >= _REPEAT_LOG_S:
                    logged_at = time.monotonic()
                    _log.warning("waiting for stream %s (%s)", self.stream, self._reason(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)
            else:
                return

    async def monotonic_offset_us(self) -> int:
        """Returns what must be added to `monotonic_us` to get the broker's present time; no step of a clock moves it.

        Raises:
            nats.errors.Error, TimeoutError, ValueError: the server does not say.
        """
        sent = monotonic_us()
        subject = f"$JS.API.CONSUMER.INFO.{self.stream}.{self.name}"
        reply = await self._nc.request(subject, timeout=_REQUEST_TIMEOUT_S)
        middle = (sent + monotonic_us()) // 2
        stamp = json.loads(reply.data).get("ts", "")
        return _parse_nanoseconds(stamp) // 1000 - middle

    def _tell_where_it_began(self, config: ConsumerConfig) -> None:
        """Says, once, that a consumer which began elsewhere goes on where it is: where it begins cannot be changed."""
        if self._is_beginning_told:
            return
        self._is_beginning_told = True
        if config.deliver_policy is not DeliverPolicy.BY_START_TIME:
            _log.warning(
                "consumer %s is there and did not begin in the past: it goes on where it is, whatever --since says; "
                "serve the model under a new version, or let `rendezvous replay` score its history",
                self.name,
            )

    def _config(self) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self.name,
            deliver_policy=DeliverPolicy.NEW if self._since is None else DeliverPolicy.BY_START_TIME,
            opt_start_time=self._since,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._ack_wait_s,
            max_deliver=MAX_DELIVER,
            filter_subject=self._subject,
            max_ack_pending=MAX_ACK_PENDING,
        )

    def _is_as_wanted(self, info: ConsumerInfo) -> bool:
        config = info.config
        is_same_wait = abs((config.ack_wait or 0) - self._ack_wait_s) < 1e-6
        return is_same_wait and config.max_deliver == MAX_DELIVER and config.filter_subject == self._subject

    def _reason(self, error: Exception) -> str:
        if isinstance(error, ConsumerDeniedError):
            return (
                f"its consumer {self.name} is not there and this key may not make it: a router does, once endpoint "
                f"{self._endpoint} is applied and the key is for this model and version"
            )
        if isinstance(error, js_errors.NotFoundError):
            return f"a router makes it when endpoint {self._endpoint} is applied"
        return f"{type(error).__name__}: {error}"


def _parse_nanoseconds(stamp: str) -> int:
    """Parses RFC 3339 with up to nine decimals; `datetime` takes no more than six."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)
