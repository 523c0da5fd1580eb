"""Makes the consumers of models that have keys: their keys allow them to read a consumer, not to make one.

Whoever could make a consumer could read any subject of the account by it, and have it delivered anywhere.
"""

import asyncio
import logging
from collections.abc import Container, Iterable

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import consumer_name, durable_stream
from rendezvous_sdk.consumer import ModelConsumer
from rendezvous_sdk.nats_connection import Connection
from rendezvous_sdk.options import ServeOptions

from rendezvous_router.tenants.register import Tenant

LOOK_S = 0.5
"""Time between two looks at what is granted and not made yet."""

Grant = tuple[str, str, str]
"""Endpoint, model, version."""

_log = logging.getLogger(__name__)


class GrantedConsumers:
    """The consumers that the keys of one tenant are for.

    Args:
        client: the router's connection.
        endpoints: those that the tenant has.
    """

    def __init__(self, client: Connection, endpoints: Container[str]) -> None:
        self._client = client
        self._endpoints = endpoints
        self._wanted: frozenset[Grant] = frozenset()
        self._made: set[Grant] = set()

    def want(self, tenant: Tenant) -> None:
        """Takes what the tenant's keys grant now. What is no longer granted stays: it is the model's history."""
        self._wanted = frozenset(grants_of(tenant))

    async def run(self) -> None:
        """Makes what is wanted and not there, until cancelled."""
        while True:
            self._made = {each for each in self._made if each[0] in self._endpoints}
            for grant in self._wanted - self._made:
                if grant[0] in self._endpoints:
                    await self._make(grant)
            await asyncio.sleep(LOOK_S)

    async def _make(self, grant: Grant) -> None:
        endpoint, model, version = grant
        try:
            try:
                await self._client.jetstream().consumer_info(durable_stream(endpoint), consumer_name(model, version))
            except NotFoundError:
                await ModelConsumer(self._client, ServeOptions(endpoint=endpoint, name=model, version=version)).ensure()
        except (NatsError, TimeoutError) as error:
            _log.debug("consumer of %s %s of endpoint %s not made yet: %r", model, version, endpoint, error)
        else:
            self._made.add(grant)


def grants_of(tenant: Tenant) -> Iterable[Grant]:
    """Yields the models and versions that the tenant's keys are for."""
    for record in tenant.keys.values():
        for endpoint, model in record.models if record.revoked_unix_s is None else ():
            for version in record.versions:
                yield endpoint, model, version
