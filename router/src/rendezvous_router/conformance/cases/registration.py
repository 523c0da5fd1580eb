"""How a model makes itself known: registration, replica, consumer."""

import asyncio
import json
import time

from google.protobuf import json_format
from nats.js.api import AckPolicy, DeliverPolicy
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, NotFoundError
from nats.js.kv import KeyValue
from rendezvous_proto import v1
from rendezvous_proto.postbox import (
    MAX_ACK_PENDING,
    MODELS_BUCKET,
    REPLICAS_BUCKET,
    REPLICAS_TTL_S,
    input_subject,
    model_key,
    replica_key,
)

from rendezvous_router.conformance.case import Failed, Need, expect, expect_equal, group
from rendezvous_router.conformance.site import ACK_WAIT_S, Site

case = group("Registration")


async def bucket(site: Site, name: str) -> KeyValue:
    """Opens a bucket of the target's server."""
    try:
        return await site.nc.jetstream().key_value(name)
    except BucketNotFoundError:
        raise Failed(f"there is no bucket {name}") from None


async def replica_names(site: Site) -> list[str]:
    """Returns the replicas that are registered for the target."""
    prefix = model_key(site.endpoint, site.model, site.version) + "."
    keys = await (await bucket(site, REPLICAS_BUCKET)).keys()
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]


@case("postbox.registration", "the model is registered, and says there what Describe says", rules="P91 P2")
async def registration(site: Site) -> None:
    """Proto JSON under the key of endpoint, model and version token."""
    key = model_key(site.endpoint, site.model, site.version)
    try:
        entry = await (await bucket(site, MODELS_BUCKET)).get(key)
    except KeyNotFoundError:
        raise Failed(f"{MODELS_BUCKET} has no key {key}") from None
    info = json_format.Parse(entry.value or b"", v1.ModelInfo())
    expect_equal("name and version", (info.name, info.version), (site.model, site.version))
    if Need.GRPC in site.there:
        described = await site.caller.describe()
        expect(info.signature == described.signature, "the signature is another than Describe's")
        expect_equal("task and SDK", (info.task, info.sdk), (described.task, described.sdk))


@case(
    "postbox.replica",
    "the replica keeps its entry: it is renewed every two seconds and runs out",
    rules="P92",
    limit_s=20.0,
)
async def replica(site: Site) -> str:
    """Two revisions, no more than three seconds apart."""
    names = await replica_names(site)
    expect(names, f"{REPLICAS_BUCKET} has no replica of {site.model}:{site.version}")
    store = await bucket(site, REPLICAS_BUCKET)
    key = replica_key(site.endpoint, site.model, site.version, names[0])
    first = await store.get(key)
    status = json.loads(first.value or b"{}")
    expect_equal("the replica in the entry", status.get("replica"), names[0])
    seen = time.monotonic()
    while (await store.get(key)).revision == first.revision:
        expect(time.monotonic() - seen < 3.5, f"the entry {key} was not renewed for 3.5 s")
        await asyncio.sleep(0.1)
    ttl_s = (await store.status()).ttl
    expect_equal("the bucket's time to live", ttl_s, REPLICAS_TTL_S)
    return f"{len(names)} registered"


@case("postbox.consumer", "the model reads through one durable consumer, configured as the protocol says", rules="P20")
async def consumer(site: Site) -> str:
    """Name, filter, acknowledgement, start, limits."""
    postman = site.postman
    try:
        config = (await site.nc.jetstream().consumer_info(postman.stream, postman.consumer)).config
    except NotFoundError:
        raise Failed(f"{postman.stream} has no consumer {postman.consumer}") from None
    expect_equal("the filter", config.filter_subject, input_subject(site.endpoint))
    expect_equal("the acknowledgement", config.ack_policy, AckPolicy.EXPLICIT)
    expect_equal("the start", config.deliver_policy, DeliverPolicy.NEW)
    expect_equal("max_ack_pending", config.max_ack_pending, MAX_ACK_PENDING)
    expect(config.deliver_subject is None, "it is a push consumer")
    if site.options.run:
        expect_equal("ack_wait as RENDEZVOUS_ACK_WAIT says", config.ack_wait, ACK_WAIT_S)
    return f"ack_wait {config.ack_wait:g} s"
