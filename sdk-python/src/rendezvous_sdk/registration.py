"""Tells the installation what serves: the model once, the replica every two seconds."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping

from google.protobuf import json_format
from nats import errors
from nats.aio.client import Client
from rendezvous_proto import v1
from rendezvous_proto.postbox import REPLICAS_BUCKET, REPLICAS_REFRESH_S, model_key, replica_key

from rendezvous_sdk.buckets import MODELS, REPLICAS, open_bucket
from rendezvous_sdk.counters import Counters
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.tasks import end_tasks

_log = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 2.0
_RETRY_S = 0.5
_REPEAT_LOG_S = 15.0


class Registration:
    """Keeps one replica's entries in the key-value buckets.

    Args:
        nc: the connection.
        info: the model.
        options: how it is served.
        counters: read at each refresh.
        status: what does not change: replica, grpc, pid, started_unix_us.
        changing: what does, beside the counters; read at each refresh. None: nothing.
    """

    def __init__(
        self,
        nc: Client,
        *,
        info: v1.ModelInfo,
        options: ServeOptions,
        counters: Counters,
        status: dict[str, object],
        changing: Callable[[], Mapping[str, object]] | None = None,
    ) -> None:
        self._js = nc.jetstream(timeout=_REQUEST_TIMEOUT_S)
        self._info = info
        self._counters = counters
        self._changing = changing
        self._status = {
            **status,
            "model": options.name,
            "version": options.version,
            "endpoint": options.endpoint,
            **({"stage": int(options.enricher)} if options.enricher else {}),
        }
        names = (options.endpoint, options.name, options.version)
        self._model_key = model_key(*names)
        self._replica_key = replica_key(*names, str(status["replica"]))
        self._is_registered = False
        self._logged_at = time.monotonic() - _REPEAT_LOG_S + _RETRY_S
        self._was_registered = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to register; failures are retried at the next refresh."""
        self._task = asyncio.create_task(self._refresh(), name="registration")

    async def wait_registered(self) -> None:
        """Returns once the model was registered for the first time."""
        await self._was_registered.wait()

    def register_again(self) -> None:
        """Writes the model's entry anew with the next refresh: the server may have lost it."""
        self._is_registered = False

    async def stop(self) -> None:
        """Takes the replica's entry away, so that nobody counts on it for the rest of its time to live."""
        if self._task is None:
            return
        await end_tasks(self._task)
        try:
            replicas = await self._js.key_value(REPLICAS_BUCKET)
            await replicas.delete(self._replica_key)
        except (errors.Error, TimeoutError) as error:
            _log.debug("replica's entry not removed, it runs out by itself: %r", error)

    async def _refresh(self) -> None:
        while True:
            try:
                if not self._is_registered:
                    await self._register()
                replicas = await self._js.key_value(REPLICAS_BUCKET)
                await replicas.put(self._replica_key, json.dumps(self._current()).encode())
            except (errors.Error, TimeoutError) as error:
                self._is_registered = False
                self._say_unregistered(error)
            await asyncio.sleep(REPLICAS_REFRESH_S if self._is_registered else _RETRY_S)

    def _say_unregistered(self, error: Exception) -> None:
        if self._was_registered.is_set() or time.monotonic() - self._logged_at < _REPEAT_LOG_S:
            _log.debug("not registered, tried again in %g s: %r", _RETRY_S, error)
            return
        self._logged_at = time.monotonic()
        _log.warning(
            "waiting to register (%s): a router makes the buckets; a key must be for this endpoint and model",
            error or type(error).__name__,
        )

    async def _register(self) -> None:
        models = await open_bucket(self._js, MODELS)
        await open_bucket(self._js, REPLICAS)
        await models.put(self._model_key, json_format.MessageToJson(self._info).encode())
        self._is_registered = True
        self._was_registered.set()

    def _current(self) -> dict[str, object]:
        counters = self._counters
        return {
            **self._status,
            **(self._changing() if self._changing is not None else {}),
            "scored_rows": counters.scored_rows,
            "scored_items": counters.scored_items,
            "failed_items": counters.failed_items,
            "expired_items": counters.expired_items,
            "parcels": counters.parcels,
            "p50_ms": round(counters.quantile_ms(0.5), 3),
            "p99_ms": round(counters.quantile_ms(0.99), 3),
        }
