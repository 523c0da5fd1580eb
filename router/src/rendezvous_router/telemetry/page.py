"""The page for scrapes and probes: `/metrics`, `/healthz`, `/readyz`, on a port of its own."""

import asyncio
import logging
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rendezvous_router.listening import Server, listen
from rendezvous_router.telemetry.prometheus import Exposition

USUAL_PORT = 8002
"""Where scrapes look for the page, as in the field."""


class Page:
    """Serves a router's page over HTTP.

    Args:
        exposition: renders the metrics.
        why_not_ready: returns why no request can be taken now; empty: it can.
    """

    def __init__(self, exposition: Exposition, why_not_ready: Callable[[], str]) -> None:
        self._exposition = exposition
        self._why_not_ready = why_not_ready
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        """Returns the page's routes, for whoever else serves them."""
        return [Route("/metrics", self._metrics), Route("/healthz", self._healthz), Route("/readyz", self._readyz)]

    async def open(self, host: str, port: int | None) -> int:
        """Listens at *port*; None: the usual one or, if that is taken, a free one. Returns it.

        Raises:
            PortTakenError: the port is taken.
        """
        listener = listen(host, port, usual=USUAL_PORT, setting="--metrics-port")
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its start and end are ours to tell
        config = uvicorn.Config(
            Starlette(routes=self.routes()),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="page")
        return int(listener.getsockname()[1])

    async def close(self) -> None:
        """Stops listening."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    async def _metrics(self, request: Request) -> Response:
        accept = request.headers.get("accept", "")
        # in a thread: the text of a hundred models takes milliseconds, in which no request would be taken
        page, content_type = await asyncio.to_thread(self._exposition.render, accept)
        return Response(page, media_type=content_type)

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        reason = self._why_not_ready()
        return PlainTextResponse(f"{reason or 'ready'}\n", status_code=503 if reason else 200)
