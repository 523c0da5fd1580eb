"""How a unary gRPC call is refused."""

import grpc
from rendezvous_proto.errors import RendezvousError
from rendezvous_sdk.grpc_errors import status_of, trailing_metadata

__all__ = ["refuse_call"]


def refuse_call(context: grpc.aio.ServicerContext[bytes, bytes], error: RendezvousError) -> bytes:
    """Sets the status of a call; returns the message that goes with it, which nobody reads.

    Not by `abort`: grpc keeps the exception that it raises with the call, and so every frame of it, in a cycle. A flood
    of refusals then leaves so much to the garbage collector that it stops everybody for 100 ms every few seconds.
    """
    context.set_code(status_of(error))
    context.set_details(error.message)
    context.set_trailing_metadata(trailing_metadata(error))
    return b""
