"""What one writes without this system: models behind `grpc.aio`, and an asyncio fan-out that waits for all.

`python -m bench.plain model MODULE:NAME` and `python -m bench.plain fanout ADDRESS...`.
Nothing is persisted, and nothing is answered before the slowest model.
"""

import asyncio
import importlib
import sys
from typing import Any

import grpc
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView, encode_frame

from bench.echo import SERVICE, serve


def make_model_handler(model: Any) -> grpc.GenericRpcHandler:
    """Returns a handler that decodes, scores and encodes one request at a time."""

    async def score(request: v1.ScoreRequest, _context: object) -> v1.ScoreReply:
        outputs = model.score(FrameView(request.inputs))
        return v1.ScoreReply(request_id=request.request_id, outputs=encode_frame(outputs))

    method = grpc.unary_unary_rpc_method_handler(score, v1.ScoreRequest.FromString, v1.ScoreReply.SerializeToString)
    return grpc.method_handlers_generic_handler(SERVICE, {"Score": method})


def make_fanout_handler(addresses: list[str]) -> grpc.GenericRpcHandler:
    """Returns a handler that sends each request to every address, and answers with the first one's reply."""
    calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
        grpc.aio.insecure_channel(address).unary_unary(f"/{SERVICE}/Score") for address in addresses
    ]

    async def score(request: bytes, _context: object) -> bytes:
        replies: list[bytes] = await asyncio.gather(*(call(request) for call in calls))
        return replies[0]

    return grpc.method_handlers_generic_handler(SERVICE, {"Score": grpc.unary_unary_rpc_method_handler(score)})


async def _serve_model(path: str) -> None:
    module, _, name = path.partition(":")
    found = getattr(importlib.import_module(module), name)
    model = found() if isinstance(found, type) else found
    model.setup()
    await serve(make_model_handler(model), path)


async def _serve_fanout(addresses: list[str]) -> None:
    await serve(make_fanout_handler(addresses), "fanout")


def main() -> None:
    """Serves what the arguments name."""
    what, *rest = sys.argv[1:]
    asyncio.run(_serve_model(rest[0]) if what == "model" else _serve_fanout(rest))


if __name__ == "__main__":
    main()
