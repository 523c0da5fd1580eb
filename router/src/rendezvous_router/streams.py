"""The two streams of an endpoint: the durable one, and the scores'.

The durable stream (raw, input, decision, feedback) is flushed before a publish is acknowledged, as the server is
configured (`sync_interval: always`, ADR 0004). The score stream persists asynchronously where there is one server:
a score can be computed again.
"""

import logging

from nats.aio.client import Client
from nats.js.api import DiscardPolicy, PersistMode, RetentionPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import BadRequestError, NotFoundError
from rendezvous.spec import EndpointSpec, parse_duration
from rendezvous_proto.postbox import (
    decision_subject,
    durable_stream,
    feedback_subject,
    input_subject,
    raw_subject,
    score_stream,
    score_subjects,
)

DUPLICATE_WINDOW_S = 120.0
"""How long JetStream remembers a `Nats-Msg-Id`."""

_log = logging.getLogger(__name__)


async def ensure_streams(client: Client, spec: EndpointSpec) -> None:
    """Makes the endpoint's streams, or brings them to what *spec* says. Does nothing where they are so already.

    Raises:
        nats.js.errors.APIError: JetStream refused, for instance for lack of storage.
    """
    js = client.jetstream()
    for config in stream_configs(spec):
        await _ensure_stream(js, config)


def stream_configs(spec: EndpointSpec) -> list[StreamConfig]:
    """Returns the configurations of the durable and the score stream."""
    name, box = spec.endpoint, spec.postbox
    max_age_s = parse_duration(box.max_age)
    durable = StreamConfig(
        name=durable_stream(name),
        description=f"Rendezvous: requests and decisions of endpoint {name}",
        subjects=[raw_subject(name), input_subject(name), decision_subject(name), feedback_subject(name)],
        max_bytes=box.max_bytes,
        discard=DiscardPolicy.NEW,
        duplicate_window=min(DUPLICATE_WINDOW_S, max_age_s) if max_age_s else DUPLICATE_WINDOW_S,
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=box.replicas,
        max_age=max_age_s,
        allow_direct=True,
    )
    scores = StreamConfig(
        name=score_stream(name),
        description=f"Rendezvous: scores of endpoint {name}",
        subjects=[score_subjects(name)],
        max_bytes=box.max_bytes,
        discard=DiscardPolicy.OLD,
        persist_mode=PersistMode.ASYNC if box.replicas == 1 else None,
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=box.replicas,
        max_age=max_age_s,
        allow_direct=True,
    )
    return [durable, scores]


async def _ensure_stream(js: JetStreamContext, config: StreamConfig) -> None:
    assert config.name is not None, "our configurations carry names"
    try:
        current = (await js.stream_info(config.name)).config
    except NotFoundError:
        try:
            await js.add_stream(config)
        except BadRequestError as error:
            if error.err_code != 10058:  # another router made it meanwhile
                raise
        return
    wanted = {"subjects": config.subjects, "max_bytes": config.max_bytes, "num_replicas": config.num_replicas}
    if any(getattr(current, name) != value for name, value in wanted.items()) or (
        (current.max_age or 0.0) != config.max_age
    ):
        _log.info("stream %s: configuration brought up to date", config.name)
        config.persist_mode = current.persist_mode
        await js.update_stream(config)
