"""`rendezvous.v1.Feedback` over gRPC, on the same port as `rendezvous.v1.Score`."""

import logging

import grpc
from google.protobuf.message import DecodeError
from rendezvous_proto.errors import InternalError, InvalidRequestError, RendezvousError
from rendezvous_proto.frames import diagnose_bad_utf8
from rendezvous_proto.v1 import RecordRequest

from rendezvous_router.feedback.recorder import Sent
from rendezvous_router.reception import FEEDBACK, Reception
from rendezvous_router.refusal import refuse_call

__all__ = ["SERVICE", "FeedbackService"]

SERVICE = "rendezvous.v1.Feedback"
"""Full name of the service."""

Context = grpc.aio.ServicerContext[bytes, bytes]
_log = logging.getLogger(__name__)


class FeedbackService:
    """Takes outcomes for routers.

    Args:
        reception: says whose router takes them.
    """

    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns what a gRPC server adds to serve this."""
        return grpc.method_handlers_generic_handler(
            SERVICE, {"Record": grpc.unary_unary_rpc_method_handler(self._record)}
        )

    async def _record(self, raw: bytes, context: Context) -> bytes:
        try:
            return await self._recorded(raw, context)
        except RendezvousError as error:
            return refuse_call(context, error)
        except Exception:  # noqa: BLE001 # logged, and answered
            _log.exception("feedback failed inside the router")
            return refuse_call(context, InternalError("a fault of the router: see its log, and please report it"))

    async def _recorded(self, raw: bytes, context: Context) -> bytes:
        shown = dict(context.invocation_metadata() or ())
        authorization = shown.get("authorization")
        if isinstance(authorization, bytes):
            authorization = authorization.decode("latin-1")
        recorder = self._reception.admit(authorization).demand(FEEDBACK).recorder
        with recorder.place(len(raw)):
            try:
                message = _parsed(raw)
            except RendezvousError as error:
                recorder.note_unread(error)
                raise
            reply = await recorder.record(
                message.endpoint,
                Sent(len(message.outcomes), message.outcomes),
                size_bytes=len(raw),
                remaining_s=context.time_remaining(),
            )
            return reply.SerializeToString()


def _parsed(raw: bytes) -> RecordRequest:
    try:
        return RecordRequest.FromString(raw)
    except DecodeError as error:
        where = diagnose_bad_utf8(raw, RecordRequest)
        if where is not None:
            raise InvalidRequestError(where, {"field": where}) from error
        raise InvalidRequestError(
            f"the message of {len(raw)} bytes is not a rendezvous.v1.RecordRequest", {"actual": len(raw)}
        ) from error
