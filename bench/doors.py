"""The same request for each of the router's doors: what is sent, and where."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from rendezvous_proto.frames import FrameView
from rendezvous_proto.inference import ModelInferRequest

from bench.load import HTTP
from bench.payloads import LINEAR_COLUMNS, make_frame


class Door(NamedTuple):
    """One way to ask."""

    method: str
    """Method of gRPC, or `HTTP`."""
    make_request: Callable[[int, str], bytes]
    """Returns the bytes of a request of so many rows to an endpoint."""


def _columns(rows: int) -> dict[str, list[float]]:
    view = FrameView(make_frame("linear", rows))
    return {name: view[name].tolist() for name in LINEAR_COLUMNS}


def _http(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _rest(rows: int, endpoint: str) -> bytes:
    body = msgspec.json.encode({"columns": _columns(rows)})
    return _http(f"/v1/endpoints/{endpoint}/score", body)


def _oip_rest(rows: int, endpoint: str) -> bytes:
    inputs = [
        {"name": name, "shape": [rows], "datatype": "FP64", "data": values} for name, values in _columns(rows).items()
    ]
    return _http(f"/v2/models/{endpoint}/infer", msgspec.json.encode({"inputs": inputs}))


def _oip_grpc(rows: int, endpoint: str) -> bytes:
    request = ModelInferRequest(model_name=endpoint)
    for column in make_frame("linear", rows).columns:
        request.inputs.add(name=column.name, datatype="FP64", shape=[rows])
        request.raw_input_contents.append(column.values)
    return request.SerializeToString()


DOORS = {
    "rest": Door(HTTP, _rest),
    "oip-rest": Door(HTTP, _oip_rest),
    "oip-grpc": Door("/inference.GRPCInferenceService/ModelInfer", _oip_grpc),
}
"""By name; gRPC's own is the one that all others are compared with."""
