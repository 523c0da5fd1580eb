"""The JSON documents of inference over REST, with and without tensors in binary behind them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, InvalidOutputError, InvalidRequestError, shown

from rendezvous_router.oip.asking import Answer
from rendezvous_router.oip.inputs import Tensor
from rendezvous_router.oip.parameters import refuse_shared_memory
from rendezvous_router.oip.tensors import TensorError, datatype_of, fill_json, fill_raw, json_of_column, raw_of_column

__all__ = ["HEADER_LENGTH", "InferBody", "read_document", "tensors_of", "write_answer"]

HEADER_LENGTH = "inference-header-content-length"
"""Header that says how long the JSON document is, where binary tensors follow it."""
SIZE = "binary_data_size"
"""Parameter of a tensor: bytes that follow for it."""

Parameters = dict[str, Any]


class InferInput(Struct):
    """One tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: Raw | UnsetType = UNSET


class InferOutput(Struct):
    """One tensor that is wanted."""

    name: str
    parameters: Parameters | None = None


class InferBody(Struct):
    """A request."""

    inputs: list[InferInput]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[InferOutput] | None = None

    @property
    def binary(self) -> Mapping[str, bool]:
        """Whether each output that was asked for is wanted in binary, by name; under the empty name: the others."""
        default = _flag((self.parameters or {}).get("binary_data_output", False), "binary_data_output")
        wanted = {"": default}
        for output in self.outputs or ():
            wanted[output.name] = _flag((output.parameters or {}).get("binary_data", default), "binary_data")
        return wanted


_LENGTH = re.compile(r"[0-9]{1,18}")
_decoder = msgspec.json.Decoder(InferBody)
_encoder = msgspec.json.Encoder()


def read_document(body: bytes, header_length: str | None) -> tuple[InferBody, memoryview]:
    """Returns the document in a body, and the binary tensors behind it.

    Args:
        body: the whole body, inflated.
        header_length: value of the header `Inference-Header-Content-Length`; None: the document is all there is.

    Raises:
        InvalidRequestError: it is not what it should be.
    """
    size = len(body)
    if header_length is not None:
        if _LENGTH.fullmatch(header_length) is None or int(header_length) > size:
            raise InvalidRequestError(
                f"header Inference-Header-Content-Length is {shown(header_length)!r}: it is the length of the JSON "
                f"document at the beginning of the body, which has {size} bytes"
            )
        size = int(header_length)
    view = memoryview(body)
    try:
        return _decoder.decode(view[:size]), view[size:]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"body: is no inference request in JSON: {_said(error)}") from error


def tensors_of(document: InferBody, binary: memoryview) -> list[Tensor]:
    """Returns the tensors of a request.

    Raises:
        InvalidFrameError: contents are absent, there twice, or not as long as the document says.
        UnimplementedError: they are in shared memory.
    """
    tensors, position = [], 0
    for each in document.inputs:
        parameters = each.parameters or {}
        refuse_shared_memory(each.name, parameters)
        is_text = parameters.get("content_type") == "str"
        size = parameters.get(SIZE)
        if (size is None) == (each.data is UNSET):
            raise _faulty(
                each, "must have either data, or the parameter binary_data_size and its bytes behind the JSON"
            )
        if size is None:
            tensors.append(Tensor(each.name, each.datatype, each.shape, fill_json, each.data, is_text))
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary) - position:
            raise _faulty(
                each,
                f"has binary_data_size {shown(str(size))}, and {len(binary) - position} bytes are left of what follows "
                "the JSON document (see the header Inference-Header-Content-Length)",
            )
        contents = bytes(binary[position : position + size])
        tensors.append(Tensor(each.name, each.datatype, each.shape, fill_raw, contents, is_text))
        position += size
    for output in document.outputs or ():
        refuse_shared_memory(output.name, output.parameters or {})
    if position != len(binary):
        raise InvalidFrameError(
            f"{len(binary)} bytes follow the JSON document, of which its inputs claim {position}: they must be equal",
            {"expected": position, "actual": len(binary)},
        )
    return tensors


def write_answer(name: str, document: InferBody, answer: Answer) -> tuple[bytes, int | None]:
    """Returns the body of an answer, and the length of the JSON document where binary tensors follow it.

    Raises:
        InvalidOutputError: an output has what JSON cannot hold, and was not asked for in binary.
    """
    is_binary = document.binary
    outputs: list[dict[str, Any]] = []
    behind: list[bytes] = []
    for column in answer.columns:
        tensor: dict[str, Any] = {
            "name": column.name,
            "datatype": datatype_of(column),
            "shape": [answer.rows, *column.shape],
        }
        if is_binary.get(column.name, is_binary[""]):
            behind.append(raw_of_column(column))
            tensor["parameters"] = {SIZE: len(behind[-1])}
        else:
            tensor["data"] = _data_of(column)
        outputs.append(tensor)
    told: dict[str, Any] = {"model_name": name, "model_version": answer.version}
    if document.id is not None:
        told["id"] = document.id
    told |= {"parameters": answer.parameters, "outputs": outputs}
    head = _encoder.encode(told)  # NaN becomes null
    return (b"".join([head, *behind]), len(head)) if behind else (head, None)


def wanted_of(document: InferBody) -> Sequence[str]:
    """Returns the names of the outputs that are wanted."""
    return [output.name for output in document.outputs or ()]


def _data_of(column: v1.Column) -> list[Any]:
    try:
        return json_of_column(column, is_nan_null=True)
    except TensorError as error:
        raise InvalidOutputError(
            f"output {column.name!r} {error}: ask for it with the parameter binary_data, or over gRPC",
            {"output": column.name},
        ) from error


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"parameter {name}: it is true or false", {"parameter": name})
    return value


def _faulty(tensor: InferInput, fault: str) -> InvalidFrameError:
    return InvalidFrameError(f"tensor {shown(tensor.name)!r} {fault}", {"tensor": shown(tensor.name)})


def _said(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else shown(str(error))
