"""Both doors give the same verdict: well-formed or not, over gRPC and over REST, with stubs and bytes of our own."""

import http.client
import json
import zlib
from typing import Any

import grpc
import numpy as np
import pytest
from rendezvous_proto import inference as oip
from rendezvous_proto.errors import ErrorCode
from rendezvous_router.oip.tensors import FIELDS
from rendezvous_sdk.grpc_errors import from_rpc

from tests.oip.conftest import Inference

X = np.array([1.0, 2.0])
GOOD: list[dict[str, Any]] = [
    {"name": "x", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]},
    {"name": "flag", "datatype": "BOOL", "shape": [2], "data": [False, True]},
]


def but(index: int, **changes: Any) -> list[dict[str, Any]]:
    """Returns the good tensors with one of them changed."""
    return [each | (changes if at == index else {}) for at, each in enumerate(GOOD)]


MALFORMED: dict[str, tuple[list[dict[str, Any]], ErrorCode, str]] = {
    "no tensors": ([], ErrorCode.SIGNATURE_MISMATCH, "there are no tensors"),
    "one absent": (GOOD[:1], ErrorCode.SIGNATURE_MISMATCH, "'flag' is absent"),
    "one too many": ([*GOOD, GOOD[0] | {"name": "y"}], ErrorCode.SIGNATURE_MISMATCH, "'y' is unknown"),
    "one twice": ([*GOOD, GOOD[0]], ErrorCode.INVALID_FRAME, "'x' is there twice"),
    "another datatype": (but(0, datatype="FP32"), ErrorCode.SIGNATURE_MISMATCH, "datatype FP32"),
    "no datatype": (but(0, datatype="FLOAT"), ErrorCode.SIGNATURE_MISMATCH, "datatype FLOAT"),
    "STRING is none": (but(0, datatype="STRING"), ErrorCode.SIGNATURE_MISMATCH, "wants FP64"),
    "another shape": (but(0, shape=[2, 2], data=[1.0] * 4), ErrorCode.SIGNATURE_MISMATCH, "shape [2, 2]"),
    "no rows dimension": (but(0, shape=[], data=[1.0]), ErrorCode.INVALID_FRAME, "must be the rows"),
    "a negative dimension": (but(0, shape=[-2]), ErrorCode.INVALID_FRAME, "none is negative"),
    "an enormous dimension": (but(0, shape=[2**62]), ErrorCode.INVALID_FRAME, "above 2147483647"),
    "too many dimensions": (but(0, shape=[2, *[1] * 9]), ErrorCode.INVALID_FRAME, "at most 8"),
    "other rows": (but(1, shape=[1], data=[True]), ErrorCode.INVALID_FRAME, "must be the same in all"),
    "no rows": (
        [GOOD[0] | {"shape": [0], "data": []}, GOOD[1] | {"shape": [0], "data": []}],
        ErrorCode.INVALID_FRAME,
        "at least 1 row",
    ),
    "too few elements": (but(0, data=[1.0]), ErrorCode.INVALID_FRAME, "shape [2] needs 2"),
    "too many elements": (but(0, data=[1.0, 2.0, 3.0]), ErrorCode.INVALID_FRAME, "shape [2] needs 2"),
    "a companion of nothing": (
        [*GOOD, GOOD[1] | {"name": "y.missing"}],
        ErrorCode.SIGNATURE_MISMATCH,
        "'y.missing' is unknown",
    ),
    "a companion that is no BOOL": (
        [*GOOD, GOOD[0] | {"name": "x.missing"}],
        ErrorCode.SIGNATURE_MISMATCH,
        "wants BOOL",
    ),
    "missing where none may be": (
        [*GOOD, GOOD[1] | {"name": "x.missing"}],
        ErrorCode.SIGNATURE_MISMATCH,
        "missing values are not allowed",
    ),
}
STATUS = {
    ErrorCode.SIGNATURE_MISMATCH: (grpc.StatusCode.INVALID_ARGUMENT, 400),
    ErrorCode.INVALID_FRAME: (grpc.StatusCode.INVALID_ARGUMENT, 400),
}


def grpc_request(tensors: list[dict[str, Any]], model: str = "pair") -> oip.ModelInferRequest:
    """Returns a request with typed contents."""
    request = oip.ModelInferRequest(model_name=model)
    for each in tensors:
        made = request.inputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        field = FIELDS.get(each["datatype"], "fp64_contents")
        elements = [text.encode() for text in each["data"]] if field == "bytes_contents" else each["data"]
        getattr(made.contents, field).extend(elements)
    return request


def over_grpc(inference: Inference, raw: bytes, method: str = "ModelInfer") -> tuple[Any, str, bytes]:
    """Returns status, code of the error and message or answer."""
    with grpc.insecure_channel(inference.grpc) as channel:
        try:
            return "OK", "", channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(raw, timeout=20)
        except grpc.RpcError as error:
            told = from_rpc(error)
            status: Any = error
            return status.code(), told.code.name, told.message.encode()


def over_rest(
    inference: Inference, body: bytes, path: str = "/v2/models/pair/infer", method: str = "POST", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Returns status, headers and body."""
    connection = http.client.HTTPConnection(inference.rest, timeout=20)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_tensors_get_the_same_verdict(inference: Inference, case: str) -> None:
    """Same code, same words but for those about how contents were written, and a status that belongs to the code."""
    tensors, code, words = MALFORMED[case]
    grpc_status, http_status = STATUS[code]
    status, name, message = over_grpc(inference, grpc_request(tensors).SerializeToString())
    assert (status, name) == (grpc_status, code.name), message
    assert words in message.decode()
    body = json.dumps({"inputs": tensors}).encode()
    rest_status, headers, answer = over_rest(inference, body)
    assert rest_status == http_status, answer
    assert headers["content-type"] == "application/json"
    assert words in json.loads(answer)["error"]
    assert set(json.loads(answer)) == {"error"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"raw_input_contents": [X.tobytes()]}, "raw_input_contents are 1 for 2 inputs"),
        ({"raw_input_contents": [X.tobytes()[1:], b"\0\1"]}, "has 15 bytes of raw contents: 2 elements of FP64"),
        ({"raw_input_contents": [X.tobytes(), b"\0\2"]}, "BOOL"),
        ({"raw_input_contents": [np.array([1.0, np.inf]).tobytes(), b"\0\1"]}, "must be finite"),
    ],
)
def test_malformed_raw_contents_are_refused(inference: Inference, changes: dict[str, Any], message: str) -> None:
    """Lengths, bytes of BOOL, and numbers that the signature does not allow."""
    request = grpc_request(GOOD)
    for each in request.inputs:
        each.ClearField("contents")
    request.MergeFrom(oip.ModelInferRequest(**changes))
    status, _, told = over_grpc(inference, request.SerializeToString())
    assert status is grpc.StatusCode.INVALID_ARGUMENT, told
    assert message in told.decode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no inference request"),
        (b"[]", "no inference request"),
        (b"{", "no inference request"),
        (b'{"inputs": ' + b"[" * 100_000, "no inference request"),
        (b'{"inputs": [{"name": "x"}]}', "missing required field `shape`"),
        (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64"}]}', "must have either data"),
        (json.dumps({"inputs": but(0, data=[1.0, float("nan")])}).encode(), "no inference request"),
        (json.dumps({"inputs": but(0, data=[1.0, "2"])}).encode(), "no flat array of numbers"),
        (json.dumps({"inputs": but(1, data=[0, 1])}).encode(), "no flat array of true and false"),
        (json.dumps({"inputs": but(0, data=[1.0, None])}).encode(), "must be finite"),
        (b'{"inputs": [], "parameters": {"timeout": [1]}}', "parameter timeout"),
        (b'{"inputs": [], "parameters": {"timeout": 1e300}}', "parameter timeout"),
        (b'{"inputs": [], "parameters": {"context.a": {}}}', "is text, a number"),
        (b'{"inputs": [], "parameters": {"binary_data_output": 1}}', "true or false"),
    ],
)
def test_malformed_json_is_refused(inference: Inference, body: bytes, message: str) -> None:
    """Whatever is wrong with the document, it is a 400 that says so."""
    status, _, answer = over_rest(inference, body)
    assert status == 400, answer
    assert message in json.loads(answer)["error"]


@pytest.mark.parametrize(
    ("sizes", "length", "message"),
    [
        ((16, 2), "999999", "Inference-Header-Content-Length"),
        ((16, 2), "-1", "Inference-Header-Content-Length"),
        ((16, 2), "x", "Inference-Header-Content-Length"),
        ((17, 2), None, "binary_data_size 2"),
        ((8, 10), None, "8 bytes of raw contents"),
        ((8, 1), None, "18 bytes follow the JSON document, of which its inputs claim 9"),
        ((16, -2), None, "binary_data_size -2"),
        ((16, True), None, "binary_data_size True"),
    ],
)
def test_malformed_binary_tensors_are_refused(
    inference: Inference, sizes: tuple[Any, Any], length: str | None, message: str
) -> None:
    """What the sizes claim must be there, and all that is there must be claimed."""
    inputs = [
        {key: value for key, value in each.items() if key != "data"} | {"parameters": {"binary_data_size": size}}
        for each, size in zip(GOOD, sizes, strict=True)
    ]
    head = json.dumps({"inputs": inputs}).encode()
    body = head + X.tobytes() + b"\0\1"
    status, _, answer = over_rest(inference, body, Inference_Header_Content_Length=length or str(len(head)))
    assert status == 400, answer
    assert message in json.loads(answer)["error"]


@pytest.mark.parametrize("raw", [b"\xff\xff", b"\x0a\x02\xff\xfe", b"no protobuf at all"])
@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "ModelReady"])
def test_bytes_that_are_no_message_are_an_invalid_argument(inference: Inference, raw: bytes, method: str) -> None:
    """Not INTERNAL, and not the parser's words."""
    status, _, message = over_grpc(inference, raw, method)
    assert status is grpc.StatusCode.INVALID_ARGUMENT
    assert b"is not" in message


def test_methods_of_others_are_unimplemented(inference: Inference) -> None:
    """Triton's and MLServer's additions to the service are not offered."""
    for method in ("RepositoryIndex", "ModelStreamInfer", "ModelConfig", "SystemSharedMemoryStatus"):
        assert over_grpc(inference, b"", method)[0] is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("name", ["pair/negated", "pair%2Fnegated"])
@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_a_single_model_is_addressed_with_its_slash_as_it_is_or_encoded(
    inference: Inference, name: str, version: str
) -> None:
    """Metadata, readiness and inference of one model, in any version or in one."""
    path = f"/v2/models/{name}{version}"
    status, _, answer = over_rest(inference, b"", path, "GET")
    assert (status, json.loads(answer)["name"]) == (200, "pair/negated")
    status, _, answer = over_rest(inference, b"", f"{path}/ready", "GET")
    assert (status, json.loads(answer)) == (200, {"name": "pair/negated", "ready": True})
    status, _, answer = over_rest(inference, json.dumps({"inputs": GOOD, "id": "é"}).encode(), f"{path}/infer")
    document = json.loads(answer)
    assert (status, document["model_version"], document["id"]) == (200, "1", "é")
    assert document["outputs"][1] == {"name": "flag", "datatype": "BOOL", "shape": [2], "data": [True, False]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2", 200),
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/health/ready", 200),
        ("GET", "/v2/models/pair", 200),
        ("GET", "/v2/models/pair%2Fready", 404),
        ("GET", "/v2/models/pair/infer", 405),
        ("POST", "/v2/models/pair", 405),
        ("POST", "/v2/models/pair/ready", 405),
        ("PUT", "/v2/models/pair/infer", 405),
        ("GET", "/v2/models/pair/absent/ready", 503),
        ("GET", "/v2/models/pair/versions/0", 404),
        ("GET", "/v2/models/", 400),
        ("GET", "/v2/models/pear/ready", 404),
        ("GET", "/v2/repository/index", 404),
    ],
)
def test_paths(inference: Inference, method: str, path: str, status: int) -> None:
    """What is there answers, and what is not says so in the protocol's own form."""
    actual, headers, answer = over_rest(inference, b"{}", path, method)
    assert actual == status, answer
    document = json.loads(answer)
    if status not in (200, 503):
        assert set(document) == {"error"}
    if status == 405:
        assert headers["allow"]


def test_typed_contents_of_every_datatype_come_back_typed(inference: Inference) -> None:
    """Typed requests are answered in typed contents, unless an output is FP16, which has none: then all are raw."""
    shaped = [
        {"name": "vector", "datatype": "FP32", "shape": [1, 3], "data": [1.0, -0.0, 1e-45]},
        {"name": "matrix", "datatype": "INT16", "shape": [1, 2, 2], "data": [1, -2, 3, -32768]},
        {"name": "texts", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "ä"]},
    ]
    request = grpc_request(shaped, "shaped")
    _, _, raw = over_grpc(inference, request.SerializeToString())
    answer = oip.ModelInferResponse.FromString(raw)
    assert not answer.raw_output_contents
    assert [output.contents for output in answer.outputs] == [tensor.contents for tensor in request.inputs]
    request.outputs.add(name="matrix")
    request.inputs[1].contents.int_contents[0] = 40_000
    status, _, message = over_grpc(inference, request.SerializeToString())
    assert (status, "40000, which INT16 does not hold" in message.decode()) == (grpc.StatusCode.INVALID_ARGUMENT, True)


def test_the_same_id_with_other_tensors_is_refused_on_the_other_door(inference: Inference) -> None:
    """A request id is one request, whichever door it comes through: a retry shares the answer, another is refused."""
    request = grpc_request(GOOD)
    request.id = "through-both"
    _, _, raw = over_grpc(inference, request.SerializeToString())
    first = oip.ModelInferResponse.FromString(raw).parameters
    status, _, answer = over_rest(inference, json.dumps({"inputs": GOOD, "id": "through-both"}).encode())
    repeated = json.loads(answer)["parameters"]
    assert (status, repeated["rendezvous_decided_after_us"]) == (200, first["rendezvous_decided_after_us"].int64_param)
    other = json.dumps({"inputs": but(0, data=[1.0, 3.0]), "id": "through-both"}).encode()
    assert over_rest(inference, other)[0] == 409


def test_a_bomb_is_refused(inference: Inference) -> None:
    """A quarter of a megabyte that inflates to a quarter of a gigabyte is too large."""
    squeezer = zlib.compressobj(9)
    bomb = b"".join([*(squeezer.compress(bytes(1 << 20)) for _ in range(256)), squeezer.flush()])
    status, _, answer = over_rest(inference, bomb, Content_Encoding="deflate")
    assert (status, "limit is" in json.loads(answer)["error"]) == (413, True)
