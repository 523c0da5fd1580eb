"""gRPC health for processes that serve nothing else by gRPC: the archive, the bridge."""

import asyncio
from collections.abc import Callable
from typing import Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from rendezvous_proto.errors import UnavailableError

from rendezvous_sdk.tasks import end_tasks

__all__ = ["HealthDoor"]

_INTERVAL_S = 0.25


class HealthDoor:
    """Serves `grpc.health.v1.Health` and reflection. Belongs to the event loop; one to a process.

    Args:
        server: the server, listening.
        port: its port.
        is_well: asked four times a second whether this process is SERVING.
    """

    def __init__(self, server: "grpc.aio.Server", port: int, is_well: Callable[[], bool]) -> None:
        self.port = port
        self._server = server
        self._is_well = is_well
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        self._following: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, host: str, port: int, is_well: Callable[[], bool]) -> Self:
        """Listens; NOT_SERVING at first.

        Args:
            host: address to listen on.
            port: 0 takes a free one.
            is_well: asked four times a second whether this process is SERVING.

        Raises:
            UnavailableError: the port is taken or not allowed.
        """
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        address = f"{host}:{port}"
        try:
            bound = server.add_insecure_port(address)
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen on {address}: the port is taken or not allowed; choose another, or 0 for a free one",
                {"address": address},
            ) from error
        door = cls(server, bound, is_well)
        await door._set(is_well=False)
        await server.start()
        door._following = asyncio.create_task(door._follow(), name="health")
        return door

    async def close(self) -> None:
        """Reports NOT_SERVING and ends."""
        await end_tasks(self._following)
        await self._set(is_well=False)
        await self._server.stop(None)

    async def _follow(self) -> None:
        was_well = False
        while True:
            is_well = self._is_well()
            if is_well is not was_well:
                await self._set(is_well=is_well)
            was_well = is_well
            await asyncio.sleep(_INTERVAL_S)

    async def _set(self, *, is_well: bool) -> None:
        status = health_pb2.HealthCheckResponse
        await self._health.set("", status.SERVING if is_well else status.NOT_SERVING)
