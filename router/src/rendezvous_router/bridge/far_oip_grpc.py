"""A model behind the Open Inference Protocol v2 over gRPC."""

from collections.abc import Sequence

import grpc
from rendezvous_proto import inference, v1
from rendezvous_proto.errors import InvalidOutputError, RendezvousError, UnavailableError
from rendezvous_proto.ids import new_id
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.grpc_errors import from_rpc

from rendezvous_router.bridge.address import FarAddress
from rendezvous_router.bridge.channel import far_failure, open_channel, reason_of, start_failure, wait_failure
from rendezvous_router.bridge.errors import FarWaitError
from rendezvous_router.bridge.far import CallContext, FarInfo
from rendezvous_router.bridge.mapping import MappingSpec, ParameterValue
from rendezvous_router.bridge.oip import UnknownModel, describe_far
from rendezvous_router.bridge.tensors import (
    column_of_raw,
    column_of_typed,
    datatype_of,
    raw_of_column,
    typed_of_column,
)

__all__ = ["OipGrpcFar"]

_STATUS = grpc.StatusCode
_NO_MODEL = (_STATUS.NOT_FOUND, _STATUS.INVALID_ARGUMENT)
_HINT = (
    "a server of the Open Inference Protocol over gRPC? Its REST port is addressed by oip+http, service Score by grpc"
)


class OipGrpcFar:
    """See `rendezvous_router.bridge.far.Far`.

    Args:
        address: where it is.
        mapping: parameters of each request, and how tensors are written.
        max_message_bytes: largest message.
        credentials: for an address with TLS; None: the system's authorities, and no own certificate.
    """

    def __init__(
        self,
        address: FarAddress,
        *,
        mapping: MappingSpec,
        max_message_bytes: int,
        credentials: Credentials | None = None,
    ) -> None:
        self.address = address
        self._channel = open_channel(address, max_message_bytes, credentials or Credentials())
        self._stub = inference.GRPCInferenceServiceStub(self._channel)  # type: ignore[no-untyped-call] # generated
        self._parameters = {name: _parameter(value) for name, value in mapping.parameters.items()}
        self._is_raw = mapping.contents == "raw"
        self._unknown = UnknownModel(address)

    def describe(self, timeout_s: float) -> FarInfo:
        """Asks `ModelMetadata`, `ModelReady` and `ServerMetadata`."""
        name, version = self.address.model, self.address.version
        try:
            server = self._stub.ServerMetadata(inference.ServerMetadataRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise start_failure(self.address, error, _HINT) from error
        try:
            model = self._stub.ModelMetadata(
                inference.ModelMetadataRequest(name=name, version=version), timeout=timeout_s
            )
        except grpc.RpcError as error:
            status, details = reason_of(error)
            raise (
                self._unknown.failure(details) if status in _NO_MODEL else start_failure(self.address, error, _HINT)
            ) from error
        self.check(timeout_s)
        return describe_far(
            self.address,
            runtime=f"{server.name} {server.version}".strip(),
            platform=model.platform,
            inputs=[(each.name, each.datatype, each.shape) for each in model.inputs],
            outputs=[(each.name, each.datatype, each.shape) for each in model.outputs],
        )

    def check(self, timeout_s: float) -> None:
        """Asks `ModelReady`."""
        request = inference.ModelReadyRequest(name=self.address.model, version=self.address.version)
        try:
            ready = self._stub.ModelReady(request, timeout=timeout_s).ready
        except grpc.RpcError as error:
            raise wait_failure(self.address, error) from error
        if not ready:
            raise FarWaitError(f"{self.address} says that its model is not ready")

    def call(self, frame: v1.Frame, context: CallContext, outputs: Sequence[str], timeout_s: float) -> v1.Frame:
        """Calls `ModelInfer`."""
        request = self._request(frame, outputs)
        try:
            response = self._stub.ModelInfer(request, timeout=timeout_s, metadata=context.metadata)
        except grpc.RpcError as error:
            raise _failure(error, timeout_s) from error
        if response.id not in ("", request.id):
            raise InvalidOutputError(
                f"the model server answered request {response.id!r} when asked {request.id!r}",
                {"expected": request.id, "actual": response.id},
            )
        return v1.Frame(rows=frame.rows, columns=_columns_of(response, frame.rows))

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _request(self, frame: v1.Frame, outputs: Sequence[str]) -> inference.ModelInferRequest:
        tensor, wanted = (
            inference.ModelInferRequest.InferInputTensor,
            inference.ModelInferRequest.InferRequestedOutputTensor,
        )
        return inference.ModelInferRequest(
            model_name=self.address.model,
            model_version=self.address.version,
            id=new_id(),
            parameters=self._parameters,
            inputs=[
                tensor(
                    name=column.name,
                    datatype=datatype_of(column),
                    shape=[frame.rows, *column.shape],
                    contents=None if self._is_raw else typed_of_column(column),
                )
                for column in frame.columns
            ],
            outputs=[wanted(name=name) for name in outputs],
            raw_input_contents=[raw_of_column(column) for column in frame.columns] if self._is_raw else (),
        )


def _columns_of(response: inference.ModelInferResponse, rows: int) -> list[v1.Column]:
    raw = response.raw_output_contents
    if not raw:
        return [column_of_typed(each.name, each.datatype, each.shape, each.contents, rows) for each in response.outputs]
    if len(raw) != len(response.outputs):
        raise InvalidOutputError(
            f"the model server answered {len(response.outputs)} tensors with the contents of {len(raw)}",
            {"expected": len(response.outputs), "actual": len(raw)},
        )
    return [
        column_of_raw(each.name, each.datatype, each.shape, contents, rows)
        for each, contents in zip(response.outputs, raw, strict=True)
    ]


def _failure(error: grpc.RpcError, timeout_s: float) -> RendezvousError:
    status, details = reason_of(error)
    if status is _STATUS.NOT_FOUND:
        return UnavailableError(f"the model is not there: {details}", {"grpc_status": status.name})
    return far_failure(error, from_rpc(error), timeout_s)


def _parameter(value: ParameterValue) -> inference.InferParameter:
    if isinstance(value, bool):
        return inference.InferParameter(bool_param=value)
    if isinstance(value, int):
        return inference.InferParameter(int64_param=value)
    return inference.InferParameter(string_param=value)
