"""`inference.GRPCInferenceService`: the protocol over gRPC, on the same port as `rendezvous.v1.Score`.

Messages are parsed here rather than by grpc, so that bytes which are no message get a clear answer, too.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from rendezvous_proto import inference
from rendezvous_proto.errors import InternalError, InvalidFrameError, InvalidRequestError, RendezvousError
from rendezvous_proto.frames import diagnose_bad_utf8

from rendezvous_router.app import Router
from rendezvous_router.aside import do_aside
from rendezvous_router.oip.about import EXTENSIONS, NAME, TensorAbout, about_model
from rendezvous_router.oip.asking import Answer, Ask, Trace, ask
from rendezvous_router.oip.inputs import Tensor
from rendezvous_router.oip.live import LiveModels, is_serving
from rendezvous_router.oip.parameters import Value, refuse_shared_memory
from rendezvous_router.oip.target import find_target
from rendezvous_router.oip.tensors import (
    Fill,
    datatype_of,
    fill_raw,
    fill_typed,
    is_typed,
    raw_of_column,
    typed_of_column,
)
from rendezvous_router.reception import SCORE, Reception
from rendezvous_router.refusal import refuse_call
from rendezvous_router.version import VERSION

__all__ = ["SERVICE", "InferenceService"]

SERVICE = "inference.GRPCInferenceService"
"""Full name of the service."""
METHOD = f"{SERVICE}/ModelInfer"
"""Its method that scores."""

Context = grpc.aio.ServicerContext[bytes, bytes]
_Asked = TypeVar("_Asked", bound=Message)
_log = logging.getLogger(__name__)


class InferenceService:
    """Serves routers to clients of the Open Inference Protocol.

    Args:
        reception: says whose router answers.
    """

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._live = LiveModels()

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns what a gRPC server adds to serve this. Methods that others have beside ours are UNIMPLEMENTED."""
        methods = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }
        return grpc.method_handlers_generic_handler(
            SERVICE, {name: grpc.unary_unary_rpc_method_handler(_answering(method)) for name, method in methods.items()}
        )

    async def _server_live(self, _raw: bytes, _context: Context) -> Message:
        return inference.ServerLiveResponse(live=True)

    async def _server_ready(self, _raw: bytes, context: Context) -> Message:
        return inference.ServerReadyResponse(ready=is_serving(self._router(context)))

    async def _server_metadata(self, _raw: bytes, context: Context) -> Message:
        self._router(context)
        return inference.ServerMetadataResponse(name=NAME, version=VERSION, extensions=EXTENSIONS)

    async def _model_ready(self, raw: bytes, context: Context) -> Message:
        router = self._router(context)
        asked = _parsed(raw, inference.ModelReadyRequest)
        target = find_target(router, asked.name, asked.version)
        return inference.ModelReadyResponse(ready=await self._live.is_ready(router, target, asked.version))

    async def _model_metadata(self, raw: bytes, context: Context) -> Message:
        router = self._router(context)
        asked = _parsed(raw, inference.ModelMetadataRequest)
        about = await about_model(router, self._live, asked.name, asked.version)
        return inference.ModelMetadataResponse(
            name=about.name,
            versions=about.versions,
            platform=about.platform,
            inputs=[_metadata_of(tensor) for tensor in about.inputs],
            outputs=[_metadata_of(tensor) for tensor in about.outputs],
        )

    async def _model_infer(self, raw: bytes, context: Context) -> Message:
        shown = dict(context.invocation_metadata() or ())
        trace = Trace(traceparent=_text(shown.get("traceparent")), tracestate=_text(shown.get("tracestate")))
        router = self._router(context)
        try:
            asked, tensors = await do_aside(len(raw), _read, raw)
        except RendezvousError as error:
            router.refuse_unread(error, method=METHOD, traceparent=trace.traceparent, tracestate=trace.tracestate)
            raise
        request = Ask(
            name=asked.model_name,
            version=asked.model_version,
            id=asked.id,
            parameters={name: _value_of(value) for name, value in asked.parameters.items()},
            tensors=tensors,
            wanted=[output.name for output in asked.outputs],
            size_bytes=len(raw),
            method=METHOD,
            remaining_s=context.time_remaining(),
            trace=trace,
        )
        answer = await ask(router, request)
        return await do_aside(answer.size_bytes, _response, asked, answer, is_raw=bool(asked.raw_input_contents))

    def _router(self, context: Context) -> Router:
        shown = dict(context.invocation_metadata() or ())
        authorization = shown.get("authorization")
        return self._reception.admit(None if authorization is None else _text(authorization)).demand(SCORE)


def _answering(
    method: Callable[[bytes, Context], Awaitable[Message]],
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """Returns a handler that answers with bytes, and with the status of the table where *method* raises."""

    async def handle(raw: bytes, context: Context) -> bytes:
        try:
            return (await method(raw, context)).SerializeToString()
        except RendezvousError as error:
            return refuse_call(context, error)
        except Exception:  # noqa: BLE001 # logged, and answered
            _log.exception("a request failed inside the inference service")
            return refuse_call(context, InternalError("a fault of the router: see its log, and please report it"))

    return handle


def _parsed(raw: bytes, kind: type[_Asked]) -> _Asked:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        where = diagnose_bad_utf8(raw, kind)
        if where is not None:
            raise InvalidFrameError(where, {"field": where}) from error
        raise InvalidRequestError(
            f"the message of {len(raw)} bytes is not an inference.{kind.DESCRIPTOR.name}", {"actual": len(raw)}
        ) from error


def _read(raw: bytes) -> tuple[inference.ModelInferRequest, Sequence[Tensor]]:
    asked = _parsed(raw, inference.ModelInferRequest)
    return asked, _tensors_of(asked)


def _tensors_of(asked: inference.ModelInferRequest) -> Sequence[Tensor]:
    for output in asked.outputs:
        if output.parameters:
            refuse_shared_memory(output.name, output.parameters)
    raw = asked.raw_input_contents
    if raw and len(raw) != len(asked.inputs):
        raise InvalidFrameError(
            f"raw_input_contents are {len(raw)} for {len(asked.inputs)} inputs: give the contents of all of them "
            "there, in their order, or of none",
            {"expected": len(asked.inputs), "actual": len(raw)},
        )
    if not raw:
        return [_tensor_of(each, fill_typed, each.contents) for each in asked.inputs]
    tensors = []
    for each, contents in zip(asked.inputs, raw, strict=True):
        if each.HasField("contents") and each.contents.ByteSize():
            raise InvalidFrameError(
                f"tensor {each.name[:80]!r} has contents both of its own and in raw_input_contents: give one of them",
                {"tensor": each.name[:80]},
            )
        tensors.append(_tensor_of(each, fill_raw, contents))
    return tensors


def _tensor_of(tensor: inference.ModelInferRequest.InferInputTensor, fill: Fill, contents: object) -> Tensor:
    is_text, parameters = False, tensor.parameters
    if parameters:
        refuse_shared_memory(tensor.name, parameters)
        is_text = "content_type" in parameters and parameters["content_type"].string_param == "str"
    return Tensor(tensor.name, tensor.datatype, tuple(tensor.shape), fill, contents, is_text)


def _response(asked: inference.ModelInferRequest, answer: Answer, *, is_raw: bool) -> inference.ModelInferResponse:
    """Returns the answer with contents as the request had them; FP16, which has no typed ones, makes all raw."""
    columns, rows = answer.columns, answer.rows
    is_raw = is_raw or not all(is_typed(column) for column in columns)
    response = inference.ModelInferResponse(
        model_name=asked.model_name,
        model_version=answer.version,
        id=asked.id,
        parameters={
            name: inference.InferParameter(int64_param=value)
            if isinstance(value, int)
            else inference.InferParameter(string_param=value)
            for name, value in answer.parameters.items()
        },
        raw_output_contents=[raw_of_column(column) for column in columns] if is_raw else (),
    )
    for column in columns:  # added in place: a list of them would be copied
        response.outputs.add(
            name=column.name,
            datatype=datatype_of(column),
            shape=(rows, *column.shape),
            contents=None if is_raw else typed_of_column(column),
        )
    return response


def _metadata_of(tensor: TensorAbout) -> inference.ModelMetadataResponse.TensorMetadata:
    return inference.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
    )


def _value_of(parameter: inference.InferParameter) -> Value:
    chosen = parameter.WhichOneof("parameter_choice")
    value: Value = getattr(parameter, chosen) if chosen else ""
    return value


def _text(value: str | bytes | None) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value or ""
