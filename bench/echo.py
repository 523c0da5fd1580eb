"""The yardstick: a bare `grpc.aio` server that answers each request with ready bytes of the right size.

It decodes nothing and computes nothing, so it is the most that one Python process can do over gRPC:
`python -m bench.echo KIND ROWS`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc

from bench.payloads import make_reply

SERVICE = "rendezvous.v1.Score"
OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 16 << 20))


def make_handler(reply: bytes) -> grpc.GenericRpcHandler:
    """Returns a handler of `Score` and `ScoreStream` that sends *reply* for every message."""

    async def score(_request: bytes, _context: object) -> bytes:
        return reply

    async def score_stream(requests: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield reply

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Score": grpc.unary_unary_rpc_method_handler(score),
            "ScoreStream": grpc.stream_stream_rpc_method_handler(score_stream),
        },
    )


async def serve(handler: grpc.GenericRpcHandler, what: str) -> None:
    """Serves *handler* on a free port until the process is ended, and says where."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready: {what}, grpc 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Serves replies of the kind and number of rows that the arguments name."""
    kind, rows = sys.argv[1:]
    asyncio.run(serve(make_handler(make_reply(kind, int(rows))), "echo"))


if __name__ == "__main__":
    main()
