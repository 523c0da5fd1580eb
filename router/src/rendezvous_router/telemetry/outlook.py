"""Everything a router process shows of itself, opened and closed together."""

import asyncio

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from starlette.routing import Route

from rendezvous_router.telemetry.collect import Points, collect
from rendezvous_router.telemetry.otlp import MetricsPush
from rendezvous_router.telemetry.page import Page
from rendezvous_router.telemetry.prometheus import Exposition
from rendezvous_router.tenants.routers import TenantRouters

CLOSE_S = 2.0
"""Longest wait for the last metrics, and for the last spans, to leave."""
SERVICE = "rendezvous-router"
"""Name of the service where `OTEL_SERVICE_NAME` says nothing."""


class Outlook:
    """A process's metrics page, and the push of its metrics.

    Args:
        routers: are shown.
        resource: says who it is.

    Raises:
        ValueError: the `OTEL_*` variables ask for what there is not.
    """

    def __init__(self, routers: TenantRouters, resource: Resource) -> None:
        self._routers = routers
        read = self._collect
        self._push = MetricsPush.from_environment(read, resource)
        self._page = Page(Exposition(read), lambda: routers.why_not_ready)

    async def open(self, host: str, port: int | None) -> int:
        """Starts; returns the port of the page.

        Raises:
            PortTakenError: it is taken.
        """
        opened = await self._page.open(host, port)
        if self._push is not None:
            self._push.start()
        return opened

    def routes(self) -> list[Route]:
        """Returns the routes of the page, for whoever else serves them."""
        return self._page.routes()

    async def close(self) -> None:
        """Sends a last time, and stops."""
        if self._push is not None:
            await asyncio.to_thread(self._push.close, CLOSE_S)
        await self._page.close()

    def _collect(self) -> Points:
        return collect(self._routers.by_tenant)


def router_resource(router_id: str) -> Resource:
    """Returns what identifies a router in telemetry; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win."""
    ours = {"service.name": SERVICE, "service.version": "0.1.0", "service.instance.id": router_id}
    return Resource.create(ours).merge(OTELResourceDetector().detect())
