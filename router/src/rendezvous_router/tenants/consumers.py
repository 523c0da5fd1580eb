"""Makes the consumers of models that have keys: their keys allow them to read a consumer, not to make one.

Whoever could make a consumer could read any subject of the account by it, and have it delivered anywhere.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import consumer_name, durable_stream
from rendezvous_sdk.consumer import ModelConsumer
from rendezvous_sdk.nats_connection import Connection
from rendezvous_sdk.options import ServeOptions

from rendezvous_router.desk import Desk
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

    def __init__(self, client: Connection, endpoints: Mapping[str, Desk]) -> None:
        self._client = client
        self._endpoints = endpoints
        self._wanted: frozenset[Grant] = frozenset()
        self._made: dict[Grant, int] = {}

    def want(self, tenant: Tenant) -> None:
        """Takes what the tenant's keys grant now. What is no longer granted stays: it is the model's history."""
        self._wanted = frozenset(grants_of(tenant))

    async def run(self) -> None:
        """Makes what is wanted and not there, until cancelled."""
        while True:
            self._made = {grant: stage for grant, stage in self._made.items() if grant[0] in self._endpoints}
            for grant in self._wanted:
                if grant[0] in self._endpoints and self._made.get(grant) != (stage := self._stage_of(grant)):
                    await self._make(grant, stage)
            await asyncio.sleep(LOOK_S)

    def _stage_of(self, grant: Grant) -> int:
        """Returns the stage of the enricher that a key is for; 0: it is for a model."""
        enricher = self._endpoints[grant[0]].endpoint.spec.enrichers.get(grant[1])
        return enricher.stage if enricher is not None else 0

    async def _make(self, grant: Grant, stage: int) -> None:
        """Makes a consumer; one that is there is only told what it reads, which its owner may not change."""
        endpoint, model, version = grant
        options = ServeOptions(endpoint=endpoint, name=model, version=version, enricher=stage)
        js = self._client.jetstream()
        try:
            try:
                info = await js.consumer_info(durable_stream(endpoint), consumer_name(model, version))
            except NotFoundError:
                await ModelConsumer(self._client, options).ensure()
            else:
                if info.config.filter_subject != options.subject:
                    await js.add_consumer(
                        durable_stream(endpoint), replace(info.config, filter_subject=options.subject)
                    )
        except (NatsError, TimeoutError) as error:
            _log.debug("consumer of %s %s of endpoint %s not made yet: %r", model, version, endpoint, error)
        else:
            self._made[grant] = stage


def grants_of(tenant: Tenant) -> Iterable[Grant]:
    """Yields the models and versions that the tenant's keys are for."""
    for record in tenant.keys.values():
        for endpoint, model in record.models if record.revoked_unix_s is None else ():
            for version in record.versions:
                yield endpoint, model, version
