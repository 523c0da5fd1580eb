"""Everything a router process shows of itself, opened and closed together."""

import asyncio
from functools import partial

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from rendezvous_sdk.tasks import end_tasks
from starlette.routing import Route

from rendezvous_router.app import Router
from rendezvous_router.telemetry.collect import Points, collect
from rendezvous_router.telemetry.fleet_watch import FleetWatch
from rendezvous_router.telemetry.otlp import MetricsPush
from rendezvous_router.telemetry.page import Page
from rendezvous_router.telemetry.prometheus import Exposition

CLOSE_S = 2.0
"""Longest wait for the last metrics, and for the last spans, to leave."""
SERVICE = "rendezvous-router"
"""Name of the service where `OTEL_SERVICE_NAME` says nothing."""


class Outlook:
    """A router's metrics page, the push of its metrics, and its look at the fleet.

    Args:
        router: is shown.
        resource: says who it is.

    Raises:
        ValueError: the `OTEL_*` variables ask for what there is not.
    """

    def __init__(self, router: Router, resource: Resource) -> None:
        self._router = router
        self._fleet = FleetWatch(router.postbox.client)
        read = self._collect
        self._push = MetricsPush.from_environment(read, resource)
        self._page = Page(Exposition(read), partial(why_not_ready, router))
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, host: str, port: int | None) -> int:
        """Starts; returns the port of the page.

        Raises:
            PortTakenError: it is taken.
        """
        opened = await self._page.open(host, port)
        self._tasks = [asyncio.create_task(self._fleet.run(self._router.desks), name="fleet")]
        if self._push is not None:
            self._push.start()
        return opened

    def routes(self) -> list[Route]:
        """Returns the routes of the page, for whoever else serves them."""
        return self._page.routes()

    async def close(self) -> None:
        """Sends a last time, and stops."""
        await end_tasks(*self._tasks)
        if self._push is not None:
            await asyncio.to_thread(self._push.close, CLOSE_S)
        await self._page.close()

    def _collect(self) -> Points:
        return collect(self._router, self._fleet.state)


def why_not_ready(router: Router) -> str:
    """Returns why *router* takes no requests now; empty: it does."""
    if router.is_draining:
        return "shutting down"
    if not router.postbox.is_connected:
        return "not connected to nats-server"
    return ""


def router_resource(router_id: str) -> Resource:
    """Returns what identifies a router in telemetry; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win."""
    ours = {"service.name": SERVICE, "service.version": "0.1.0", "service.instance.id": router_id}
    return Resource.create(ours).merge(OTELResourceDetector().detect())
