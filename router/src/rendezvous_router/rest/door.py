"""The REST front door as a part of the router's process: its port, its life from open to drained."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from functools import partial

import uvicorn
from starlette.routing import Route

from rendezvous_router.listening import Server, listen
from rendezvous_router.options import REST_PORT, RouterOptions
from rendezvous_router.reception import Reception
from rendezvous_router.rest.app import RestApp
from rendezvous_router.rest.connection import HANDSHAKE_S, IDLE_S, Connection, raise_open_files

BACKLOG = 4096
"""Connections that the system holds until they are taken."""


class _Server(Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens; with TLS, so that a connection does not wait a minute for its handshake, as it would by default."""
        loop, config = asyncio.get_running_loop(), self.config
        new = partial(config.http_protocol_class, config=config, server_state=self.server_state, app_state={})  # type: ignore[call-arg] # HTTP ones take these
        seconds = None if config.ssl is None else HANDSHAKE_S
        self.servers = [
            await loop.create_server(
                new, sock=each, ssl=config.ssl, ssl_handshake_timeout=seconds, backlog=config.backlog
            )
            for each in sockets or ()
        ]
        self.started = True


class RestDoor:
    """Serves routers over HTTP.

    Args:
        reception: says whose router answers.
        options: where to listen, and what to take.
        page: routes for scrapes and probes, served here, too.
        tls: serves HTTPS; None: plain HTTP.
        reuse_port: share the port with other workers (SO_REUSEPORT).
    """

    def __init__(
        self,
        reception: Reception,
        options: RouterOptions,
        *,
        page: Sequence[Route] = (),
        tls: ssl.SSLContext | None = None,
        reuse_port: bool = False,
    ) -> None:
        self._options = options
        self._reuse_port = reuse_port
        self._tls = tls
        self._app = RestApp(reception, options, page)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> int:
        """Listens, and returns the port.

        Raises:
            PortTakenError: the port is taken.
        """
        options = self._options
        listener = listen(
            options.host,
            options.rest_port,
            usual=REST_PORT,
            setting="--rest-port",
            reuse_port=self._reuse_port,
        )
        raise_open_files(options.rest_connections)
        # Its start and end are ours to tell, and what it says of broken requests would be a flood.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        config = uvicorn.Config(
            self._app,
            http=partial(Connection, most=options.rest_connections),  # type: ignore[arg-type] # called like a class
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=max(1, round(options.drain_s)),
            backlog=BACKLOG,
        )
        config.load()
        config.ssl = self._tls
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="rest")
        return int(listener.getsockname()[1])

    async def close(self, grace_s: float) -> None:
        """Listens no more, and gives the requests in progress *grace_s* seconds."""
        if self._server is None or self._serving is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_s))
        self._server.should_exit = True
        await self._serving
