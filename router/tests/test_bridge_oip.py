"""What a bridge makes of Open Inference servers, over gRPC and REST: servers in the test, one backend behind both."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from rendezvous_proto import inference
from rendezvous_proto.errors import (
    InvalidOutputError,
    ModelFailedError,
    OverloadedError,
    RendezvousError,
    TooLargeError,
    UnavailableError,
)
from rendezvous_proto.frames import FrameView, encode_frame
from rendezvous_router.bridge import BridgeError, parse_address
from rendezvous_router.bridge.errors import FarSilentError, FarWaitError
from rendezvous_router.bridge.far import CallContext, Far
from rendezvous_router.bridge.far_oip_grpc import OipGrpcFar
from rendezvous_router.bridge.far_oip_http import OipHttpFar
from rendezvous_router.bridge.far_score import ScoreFar
from rendezvous_router.bridge.mapping import MappingSpec
from rendezvous_router.nats_server import find_free_port

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATUSES = {"not found": 404, "unavailable": 503, "overloaded": 429, "invalid": 400, "internal": 500}
CODES = {
    "not found": grpc.StatusCode.NOT_FOUND,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "internal": grpc.StatusCode.INTERNAL,
}


@dataclass
class Backend:
    """A model that doubles `x` and greets `who`, and what it was asked."""

    shape: list[int] = field(default_factory=lambda: [-1, 2])
    is_ready: bool = True
    fault: str = ""
    """Key of `STATUSES` with which scoring ends."""
    id: str | None = None
    """Answered as the request's id instead of its own."""
    answers_typed: bool = True
    """Whether answers over gRPC have typed contents, else raw."""
    hang: threading.Event = field(default_factory=threading.Event)
    is_hanging: bool = False
    padding: int = 0
    """Bytes of a text that answers have beside what they say."""
    is_compressed: bool = False
    """Whether answers over REST are compressed."""
    traceparents: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def enter(self) -> None:
        """Hangs, if it is to."""
        if self.is_hanging:
            self.hang.wait(20)


class GrpcModel(inference.GRPCInferenceServiceServicer):
    """The backend over gRPC."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC
        """Says what this is."""
        return inference.ServerMetadataResponse(name="toy", version="1.2")

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC
        """Says what the model takes and gives."""
        if request.name != "m":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        kinds = inference.ModelMetadataResponse.TensorMetadata
        return inference.ModelMetadataResponse(
            name="m",
            platform="toy_ml",
            inputs=[kinds(name="x", datatype="FP64", shape=self.backend.shape)],
            outputs=[kinds(name="y", datatype="FP64", shape=self.backend.shape)],
        )

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC
        """Says how the model is."""
        self.backend.enter()
        return inference.ModelReadyResponse(ready=self.backend.is_ready)

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC
        """Doubles the numbers."""
        backend = self.backend
        backend.enter()
        backend.traceparents += [value for key, value in context.invocation_metadata() if key == "traceparent"]
        backend.parameters.append(
            {name: each.string_param or each.bool_param for name, each in request.parameters.items()}
        )
        backend.requested = [each.name for each in request.outputs]
        if backend.fault:
            context.abort(CODES[backend.fault], "it does not want to")
        numbers = _doubled(request)
        output = inference.ModelInferResponse.InferOutputTensor
        answered_id = request.id if backend.id is None else backend.id
        response = inference.ModelInferResponse(model_name="m" + backend.padding * " ", id=answered_id)
        response.outputs.append(output(name="y", datatype="FP64", shape=request.inputs[0].shape))
        if backend.answers_typed:
            response.outputs[0].contents.fp64_contents.extend(numbers)
        else:
            response.raw_output_contents.append(encode_frame({"y": numbers}).columns[0].values)
        return response


def _doubled(request: Any) -> list[float]:
    if request.raw_input_contents:
        numbers = memoryview(request.raw_input_contents[0]).cast("d").tolist()
    else:
        numbers = list(request.inputs[0].contents.fp64_contents)
    return [2 * number for number in numbers]


class RestModel(BaseHTTPRequestHandler):
    """The backend over REST; a subclass has it."""

    backend: Backend
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answers questions about server and model."""
        backend = self.backend
        tensor = {"name": "x", "datatype": "FP64", "shape": backend.shape}
        if self.path.endswith("/ready"):
            backend.enter()
            self.answer(200 if backend.is_ready else 400, {"name": "m", "ready": backend.is_ready})
        elif self.path == "/v2":
            self.answer(200, {"name": "toy", "version": "1.2", "extensions": []})
        elif self.path == "/v2/models/m":
            outputs = [{**tensor, "name": "y"}]
            self.answer(200, {"name": "m", "platform": "toy_ml", "inputs": [tensor], "outputs": outputs})
        else:
            self.answer(404, {"error": "no such model"})

    def do_POST(self) -> None:
        """Doubles the numbers."""
        backend = self.backend
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        backend.enter()
        backend.traceparents += self.headers.get_all("traceparent", [])
        backend.parameters.append(request.get("parameters", {}))
        backend.requested = [each["name"] for each in request.get("outputs", [])]
        if backend.fault:
            self.answer(STATUSES[backend.fault], {"error": "it does not want to"})
            return
        tensor = request["inputs"][0]
        doubled = {**tensor, "name": "y", "data": [2 * number for number in tensor["data"]]}
        self.answer(200, {"id": request["id"] if backend.id is None else backend.id, "outputs": [doubled]})

    def answer(self, status: int, document: Any) -> None:
        """Answers, if anybody still listens."""
        body = json.dumps(document).encode() + self.backend.padding * b" "
        self.send_response(status)
        if self.backend.is_compressed:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(ConnectionError):
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as inherited
        """Says nothing."""


@pytest.fixture
def backend() -> Iterator[Backend]:
    """The model behind both servers."""
    made = Backend()
    yield made
    made.hang.set()


@pytest.fixture
def grpc_port(backend: Backend) -> Iterator[int]:
    """Port of a server over gRPC."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    inference.add_GRPCInferenceServiceServicer_to_server(GrpcModel(backend), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    backend.hang.set()
    server.stop(None).wait()


@pytest.fixture
def http_port(backend: Backend) -> Iterator[int]:
    """Port of a server over REST."""
    handler = type("Handler", (RestModel,), {"backend": backend})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    backend.hang.set()
    server.shutdown()
    thread.join()
    server.server_close()


def open_far(scheme: str, port: int, *, model: str = "m", **mapping: Any) -> Far:
    """Returns the far side at *port*."""
    address = parse_address(f"{scheme}://127.0.0.1:{port}/{model}")
    spec = MappingSpec(**mapping)
    if scheme == "oip+grpc":
        return OipGrpcFar(address, mapping=spec, max_message_bytes=1 << 20)
    return OipHttpFar(address, mapping=spec, connections=2, max_message_bytes=1 << 20)


@pytest.fixture(params=["oip+grpc", "oip+http"])
def scheme(request: pytest.FixtureRequest) -> str:
    """What is spoken."""
    return str(request.param)


@pytest.fixture
def port(scheme: str, request: pytest.FixtureRequest) -> int:
    """Where the server for `scheme` listens."""
    return int(request.getfixturevalue("grpc_port" if scheme == "oip+grpc" else "http_port"))


def call(far: Far, *, timeout_s: float = 5.0, outputs: tuple[str, ...] = ()) -> list[Any]:
    """Scores two rows."""
    frame = encode_frame({"x": [[1.0, 2.0], [3.0, 4.5]]})
    answer = far.call(frame, CallContext(traceparent=TRACEPARENT), outputs, timeout_s)
    return FrameView(answer).column("y")


def test_the_model_is_described(scheme: str, port: int) -> None:
    """Datatype and shape come without the batch; the server's name and the model's framework are told."""
    far = open_far(scheme, port)
    info = far.describe(5.0)
    assert [(each.name, each.type, each.shape) for each in info.inputs] == [("x", 12, (2,))]
    assert (info.info.runtime, info.info.description) == ("toy 1.2", "toy_ml m of toy 1.2")
    assert (info.carries_missing, info.tells_text, info.max_rows) == (False, False, None)
    far.close()


@pytest.mark.parametrize("contents", ["raw", "typed"])
@pytest.mark.parametrize("answers_typed", [True, False])
def test_rows_are_scored(scheme: str, port: int, backend: Backend, contents: str, answers_typed: bool) -> None:
    """Rows go and come in either way of writing tensors; trace context, parameters and wanted outputs travel along."""
    backend.answers_typed = answers_typed
    far = open_far(scheme, port, contents=contents, parameters={"content_type": "pd", "flag": True})
    assert call(far, outputs=("y",)) == [[2.0, 4.0], [6.0, 9.0]]
    assert backend.traceparents == [TRACEPARENT]
    assert backend.parameters == [{"content_type": "pd", "flag": True}]
    assert backend.requested == ["y"]
    far.close()


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("invalid", ModelFailedError, "it does not want to"),
        ("internal", ModelFailedError, "it does not want to"),
        ("unavailable", UnavailableError, "it does not want to"),
        ("not found", UnavailableError, "it does not want to"),
        ("overloaded", OverloadedError, "it does not want to"),
    ],
)
def test_failures_are_told_apart(
    scheme: str, port: int, backend: Backend, fault: str, kind: type[RendezvousError], message: str
) -> None:
    """What the model says of the rows is its failure; what hinders it from answering is not."""
    backend.fault = fault
    far = open_far(scheme, port)
    with pytest.raises(kind, match=message):
        call(far)
    far.close()


def test_a_call_has_a_deadline(scheme: str, port: int, backend: Backend) -> None:
    """A server that does not answer in time has failed on these rows; asked how it is, it is silent, not down."""
    far = open_far(scheme, port)
    backend.is_hanging = True
    with pytest.raises(ModelFailedError, match=r"took longer than 0.2 s \(--timeout\)"):
        call(far, timeout_s=0.2)
    with pytest.raises(FarSilentError, match="does not answer"):
        far.check(0.2)
    far.close()


@pytest.mark.parametrize("is_compressed", [False, True])
def test_an_answer_has_a_largest_size(scheme: str, port: int, backend: Backend, is_compressed: bool) -> None:
    """Of an answer that is larger than a message may be no more is read, unpacked or not; the next call is served."""
    backend.is_compressed = is_compressed
    far = open_far(scheme, port)
    assert call(far)
    backend.padding = 1 << 22
    with pytest.raises(TooLargeError, match=r"more than 1048576 bytes|larger than max"):
        call(far)
    if scheme == "oip+http":
        with pytest.raises(FarWaitError, match=r"answers GET /v2 with more than 1048576 bytes"):
            far.describe(5.0)
    backend.padding = 0
    assert call(far)
    far.close()


def test_another_requests_answer_is_refused(scheme: str, port: int, backend: Backend) -> None:
    """An id that comes back must be the request's own; none at all is tolerated."""
    far = open_far(scheme, port)
    backend.id = ""
    assert call(far)
    backend.id = "other"
    with pytest.raises(InvalidOutputError, match="answered request 'other'"):
        call(far)
    far.close()


def test_a_model_that_is_not_ready_is_waited_for(scheme: str, port: int, backend: Backend) -> None:
    """Not ready is a reason to wait, at start and later; ready is none."""
    far = open_far(scheme, port)
    far.check(5.0)
    backend.is_ready = False
    for ask in (far.check, far.describe):
        with pytest.raises(FarWaitError, match="not ready"):
            ask(5.0)
    far.close()


def test_an_unknown_model_is_given_up(scheme: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that the server does not know may be loading; after a while that is an error which names it."""
    far = open_far(scheme, port, model="tree")
    with pytest.raises(FarWaitError, match=r"has no model 'tree'.*may be loading"):
        far.describe(5.0)
    monkeypatch.setattr("rendezvous_router.bridge.oip._GRACE_S", 0.0)
    with pytest.raises(BridgeError, match=r"has no model 'tree'.*check its name"):
        far.describe(5.0)
    far.close()


def test_nobody_there_is_waited_for(scheme: str) -> None:
    """A refused connection is a reason to wait at start, and no failure of the model later."""
    far = open_far(scheme, find_free_port())
    with pytest.raises(FarWaitError):
        far.describe(5.0)
    with pytest.raises(UnavailableError):
        call(far)
    far.close()


@pytest.mark.parametrize(
    ("shape", "max_rows"),
    [([1, 2], 1), ([-1, -1], None)],
)
def test_shapes_say_how_many_rows_a_call_takes(
    scheme: str, port: int, backend: Backend, shape: list[int], max_rows: int | None
) -> None:
    """A first dimension of 1 is a batch of one row a call."""
    backend.shape = shape
    far = open_far(scheme, port)
    info = far.describe(5.0)
    assert info.max_rows == max_rows
    assert info.inputs[0].shape == tuple(shape[1:])
    far.close()


def test_a_model_without_a_batch_is_refused(scheme: str, port: int, backend: Backend) -> None:
    """A first dimension that is neither any size nor 1 is no batch; that is known at start."""
    backend.shape = [5]
    far = open_far(scheme, port)
    with pytest.raises(BridgeError, match=r"takes 'x' in the shape \[5\]"):
        far.describe(5.0)
    far.close()


def test_the_wrong_protocol_is_recognized(grpc_port: int, http_port: int) -> None:
    """A server that speaks something else is named as such, with what may be meant."""
    bare = ScoreFar(parse_address(f"grpc://127.0.0.1:{grpc_port}"), max_message_bytes=1 << 22)
    with pytest.raises(BridgeError, match=r"a server of rendezvous.v1.Score\? One of the Open Inference Protocol"):
        bare.describe(5.0)
    bare.close()
    for scheme, port, message in (("oip+http", grpc_port, "gRPC port"), ("oip+grpc", http_port, "Its REST port")):
        crossed = open_far(scheme, port)
        with pytest.raises(BridgeError, match=message):
            crossed.describe(5.0)
        crossed.close()
