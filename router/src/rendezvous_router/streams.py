"""The two streams of an endpoint: the durable one, and the scores'.

The durable stream (raw, input, decision, feedback) is flushed before a publish is acknowledged, as the server is
configured (`sync_interval: always`, ADR 0004). The score stream persists asynchronously where one server stands
alone: a score can be computed again. JetStream replicates no stream that does, so in a cluster none is made so.
"""

import logging
import secrets

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, PersistMode, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, NotFoundError
from rendezvous.spec import EndpointSpec, parse_duration
from rendezvous_proto.errors import InvalidSpecError
from rendezvous_proto.postbox import (
    durable_stream,
    durable_subjects,
    score_stream,
    score_subjects,
)
from rendezvous_sdk.buckets import NOT_ENOUGH_SERVERS

DUPLICATE_WINDOW_S = 120.0
"""How long JetStream remembers a `Nats-Msg-Id`."""

_log = logging.getLogger(__name__)

_NAME_IN_USE = 10058


async def ensure_streams(client: Client, spec: EndpointSpec) -> None:
    """Makes the endpoint's streams, or brings them to what *spec* says. Does nothing where they are so already.

    Raises:
        InvalidSpecError: there are fewer servers than *spec* wants replicas.
        nats.js.errors.APIError: JetStream refused, for instance for lack of storage.
    """
    js = client.jetstream()
    try:
        info = await _ensure_stream(js, _durable_config(spec))
        await _ensure_stream(js, _scores_config(spec, is_clustered=info.cluster is not None))
    except APIError as error:
        if error.err_code in NOT_ENOUGH_SERVERS:
            raise _too_many_replicas(spec, error) from error
        raise


async def check_replicas(client: Client, spec: EndpointSpec) -> None:
    """Asks JetStream whether it could keep the endpoint's streams on as many servers as *spec* wants.

    There is no question for that which a client may ask; so a stream of that kind is made in memory and removed. Not
    where the endpoint's own stream is on so many already.

    Raises:
        InvalidSpecError: it could not.
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    wanted = spec.postbox.replicas
    if wanted == 1:
        return
    js = client.jetstream()
    try:
        if (await js.stream_info(durable_stream(spec.endpoint))).config.num_replicas == wanted:
            return
    except NotFoundError:
        pass  # a new endpoint
    name = f"RV-TRIAL-{secrets.token_hex(6)}"
    trial = StreamConfig(name=name, subjects=[f"rv.trial.{name}"], storage=StorageType.MEMORY, num_replicas=wanted)
    try:
        await js.add_stream(trial)
    except APIError as error:
        if error.err_code in NOT_ENOUGH_SERVERS:
            raise _too_many_replicas(spec, error) from error
        raise
    try:
        await js.delete_stream(name)
    except (NatsError, TimeoutError) as error:
        _log.warning("the stream %s, made for a trial, was not removed: %r", name, error)


def duplicate_window_s(spec: EndpointSpec) -> float:
    """Returns how long JetStream remembers an id at this endpoint, seconds: no longer than it keeps messages."""
    max_age_s = spec.postbox.max_age_s
    return min(DUPLICATE_WINDOW_S, max_age_s) if max_age_s else DUPLICATE_WINDOW_S


def _durable_config(spec: EndpointSpec) -> StreamConfig:
    name, box = spec.endpoint, spec.postbox
    max_age_s = parse_duration(box.max_age)
    return StreamConfig(
        name=durable_stream(name),
        description=f"Rendezvous: requests and decisions of endpoint {name}",
        subjects=durable_subjects(name),
        max_bytes=box.max_bytes,
        discard=DiscardPolicy.NEW,
        duplicate_window=duplicate_window_s(spec),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=box.replicas,
        max_age=max_age_s,
        allow_direct=True,
    )


def _scores_config(spec: EndpointSpec, *, is_clustered: bool) -> StreamConfig:
    name, box = spec.endpoint, spec.postbox
    return StreamConfig(
        name=score_stream(name),
        description=f"Rendezvous: scores of endpoint {name}",
        subjects=[score_subjects(name)],
        max_bytes=box.max_bytes,
        discard=DiscardPolicy.OLD,
        persist_mode=None if is_clustered else PersistMode.ASYNC,
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=box.replicas,
        max_age=parse_duration(box.max_age),
        allow_direct=True,
    )


async def _ensure_stream(js: JetStreamContext, config: StreamConfig) -> StreamInfo:
    assert config.name is not None, "our configurations carry names"
    try:
        info = await js.stream_info(config.name)
    except NotFoundError:
        try:
            return await js.add_stream(config)
        except APIError as error:
            if error.err_code != _NAME_IN_USE:  # another router made it meanwhile
                raise
        info = await js.stream_info(config.name)
    current = info.config
    wanted = {"subjects": config.subjects, "max_bytes": config.max_bytes, "num_replicas": config.num_replicas}
    if any(getattr(current, name) != value for name, value in wanted.items()) or (
        (current.max_age or 0.0) != config.max_age
    ):
        config.persist_mode = current.persist_mode  # cannot be changed
        info = await js.update_stream(config)
        _log.info("stream %s: configuration brought up to date", config.name)
    return info


def _too_many_replicas(spec: EndpointSpec, error: APIError) -> InvalidSpecError:
    wanted = spec.postbox.replicas
    return InvalidSpecError(
        f"endpoint {spec.endpoint}: postbox.replicas = {wanted}, and the NATS servers that there are now are fewer "
        f"(JetStream says: {error.description}): lower it, or run a cluster of at least {wanted} servers",
        {"endpoint": spec.endpoint, "replicas": wanted},
    )
