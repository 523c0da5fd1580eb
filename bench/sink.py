"""A collector that takes spans and metrics and forgets them: `python -m bench.sink`.

What is measured is what telemetry costs the system; a real collector's own work would show on the same cores.
"""

import asyncio

import grpc

from bench.echo import OPTIONS

_SERVICES = ("trace", "metrics")


def make_handlers() -> tuple[grpc.GenericRpcHandler, ...]:
    """Returns handlers of OTLP's services that answer every export with an empty response."""

    async def export(_request: bytes, _context: object) -> bytes:
        return b""

    return tuple(
        grpc.method_handlers_generic_handler(
            f"opentelemetry.proto.collector.{each}.v1.{each.title()}Service",
            {"Export": grpc.unary_unary_rpc_method_handler(export)},
        )
        for each in _SERVICES
    )


async def serve() -> None:
    """Serves on a free port until the process is ended, and says where."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(make_handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready: sink, grpc 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
