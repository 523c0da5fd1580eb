"""A model that implements the service `Score`, and nothing else of ours."""

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidOutputError, RendezvousError
from rendezvous_proto.ids import new_id
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.grpc_errors import from_rpc

from rendezvous_router.bridge.address import FarAddress
from rendezvous_router.bridge.channel import far_failure, open_channel, reason_of, start_failure, wait_failure
from rendezvous_router.bridge.errors import BridgeError, FarWaitError
from rendezvous_router.bridge.far import CallContext, FarColumn, FarInfo

__all__ = ["ScoreFar"]

_STATUS = grpc.StatusCode
_REFUSED = (_STATUS.NOT_FOUND, _STATUS.INVALID_ARGUMENT)
_HINT = "a server of rendezvous.v1.Score? One of the Open Inference Protocol is addressed by oip+grpc://host:port/model"
_NO_HEALTH = (_STATUS.UNIMPLEMENTED, _STATUS.NOT_FOUND)


class ScoreFar:
    """See `rendezvous_router.bridge.far.Far`.

    Args:
        address: where it is.
        max_message_bytes: largest message.
        credentials: for an address with TLS; None: the system's authorities, and no own certificate.
    """

    def __init__(self, address: FarAddress, *, max_message_bytes: int, credentials: Credentials | None = None) -> None:
        self.address = address
        self._channel = open_channel(address, max_message_bytes, credentials or Credentials())
        self._score = v1.ScoreStub(self._channel)  # type: ignore[no-untyped-call] # generated
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._has_health = True

    def describe(self, timeout_s: float) -> FarInfo:
        """Asks `Describe`."""
        try:
            info: v1.ModelInfo = self._score.Describe(
                v1.DescribeRequest(endpoint=self.address.model), timeout=timeout_s
            )
        except grpc.RpcError as error:
            if reason_of(error)[0] in _REFUSED:
                raise BridgeError(f"{self.address} refuses to describe its model: {reason_of(error)[1]}") from error
            raise start_failure(self.address, error, _HINT) from error
        signature = info.signature
        return FarInfo(
            info=info,
            inputs=[_far_column(spec) for spec in signature.inputs],
            outputs=[_far_column(spec) for spec in signature.outputs],
            carries_missing=True,
            tells_text=True,
        )

    def check(self, timeout_s: float) -> None:
        """Asks `grpc.health.v1.Health`; where it is not served, `Describe`."""
        try:
            if self._has_health:
                self._check_health(timeout_s)
            if not self._has_health:
                self._score.Describe(v1.DescribeRequest(endpoint=self.address.model), timeout=timeout_s)
        except grpc.RpcError as error:
            raise wait_failure(self.address, error) from error

    def call(
        self,
        frame: v1.Frame,
        context: CallContext,
        outputs: Sequence[str],  # noqa: ARG002 - `Score` has no such choice
        timeout_s: float,
    ) -> v1.Frame:
        """Calls `Score`."""
        request = v1.ScoreRequest(
            request_id=new_id(), endpoint=self.address.model, inputs=frame, provenance=context.provenance
        )
        try:
            reply: v1.ScoreReply = self._score.Score(request, timeout=timeout_s, metadata=context.metadata)
        except grpc.RpcError as error:
            typed = from_rpc(error)
            raise far_failure(error, typed, timeout_s) from error
        if reply.HasField("error"):
            raise RendezvousError.from_proto(reply.error)
        if reply.request_id != request.request_id:
            raise InvalidOutputError(
                f"the model server answered request {reply.request_id!r} when asked {request.request_id!r}",
                {"expected": request.request_id, "actual": reply.request_id},
            )
        return reply.outputs

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _check_health(self, timeout_s: float) -> None:
        try:
            status = self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s).status
        except grpc.RpcError as error:
            if reason_of(error)[0] not in _NO_HEALTH:
                raise
            self._has_health = False
            return
        if status != health_pb2.HealthCheckResponse.SERVING:
            name = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
            raise FarWaitError(f"{self.address} reports {name}")


def _far_column(spec: v1.ColumnSpec) -> FarColumn:
    return FarColumn(
        name=spec.name,
        type=spec.type,
        shape=tuple(spec.shape),
        allow_missing=spec.allow_missing,
        allow_nan=spec.allow_nan,
    )
