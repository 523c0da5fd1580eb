"""The key-value buckets: made where they are missing, kept on three servers where there is a cluster.

Three servers is the least of which one may fail while the others go on, and more would only cost writes. With two,
a second copy would make failures likelier: both would have to be up. So a bucket is kept on three servers or on one.

Source: docs/cluster.md, "What is replicated".
"""

import logging

from nats.js import api, errors
from nats.js.client import JetStreamContext
from nats.js.kv import KeyValue
from rendezvous_proto.postbox import MODELS_BUCKET, REPLICAS_BUCKET, REPLICAS_TTL_S

__all__ = ["MODELS", "NOT_ENOUGH_SERVERS", "REPLICAS", "SERVERS", "open_bucket"]

_log = logging.getLogger(__name__)

SERVERS = 3
"""Servers that keep a bucket in a cluster."""

MODELS = api.KeyValueConfig(bucket=MODELS_BUCKET, history=8)
"""What is registered: one entry a model version."""

REPLICAS = api.KeyValueConfig(bucket=REPLICAS_BUCKET, ttl=REPLICAS_TTL_S, storage=api.StorageType.MEMORY)
"""What lives: one entry a replica."""

NOT_ENOUGH_SERVERS = frozenset({10005, 10074})
"""JetStream's error codes for more replicas than there are servers: in a cluster, and of a server that stands alone."""

_NAME_IN_USE = 10058


async def open_bucket(js: JetStreamContext, config: api.KeyValueConfig) -> KeyValue:
    """Opens a bucket; makes it where it is missing, on three servers or, where there are fewer, on one.

    Args:
        js: JetStream.
        config: the bucket; its `replicas` are not looked at. An existing bucket is left as it is.

    Returns:
        The bucket.

    Raises:
        nats.errors.Error, TimeoutError: JetStream refused, or does not answer.
    """
    name = str(config.bucket)
    try:
        return await js.key_value(name)
    except errors.BucketNotFoundError:
        _log.info("making bucket %s", name)
    for servers in (SERVERS, 1):
        try:
            return await js.create_key_value(config.evolve(replicas=servers))
        except errors.APIError as error:
            if error.err_code == _NAME_IN_USE:  # another process was faster
                break
            if servers == 1 or error.err_code not in NOT_ENOUGH_SERVERS:
                raise
    return await js.key_value(name)
