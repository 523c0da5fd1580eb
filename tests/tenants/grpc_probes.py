"""Tries everything that the gRPC port offers on what belongs to somebody else."""

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rendezvous_proto import inference as oip
from rendezvous_proto.keys import Key
from rendezvous_proto.v1 import (
    BusinessKey,
    DescribeRequest,
    Diagnostics,
    ModelInfo,
    Outcome,
    OutcomeKind,
    RecordReply,
    RecordRequest,
    ScoreReply,
    ScoreRequest,
)

from tests.tenants.probing import HOSTILE, Place, Prey, Seen, bearer, metadata, said_in, table, told_by

OIP = "/inference.GRPCInferenceService/"
SERVICES = (
    "",
    "rendezvous.v1.Score",
    "rendezvous.v1.Feedback",
    "inference.GRPCInferenceService",
    "bank",
    "rendezvous.v1.Control",
    "rendezvous.*",
)


def probe_grpc(place: Place, key: Key | None, seen: Seen) -> None:
    """Calls every method, for every name, as the owner of *key*."""
    for headers in (bearer(key), {**bearer(key), **HOSTILE}):
        with grpc.insecure_channel(place.grpc, [("grpc.default_authority", "bank")]) as channel:
            for name in place.prey.names:
                for method, request, answer in _calls(place.prey, name):
                    said = said_in(request, name, place.prey.model, f"{place.prey.model}x", place.prey.request_id)
                    _call(channel, method, request, answer, headers, seen, said)
                _stream(channel, name, headers, seen)
            _look_round(channel, headers, seen)


def infer_request(name: str, request_id: str = "") -> oip.ModelInferRequest:
    """Returns one row as the Open Inference Protocol has it."""
    request = oip.ModelInferRequest(model_name=name, id=request_id)
    request.inputs.add(name="a", datatype="FP64", shape=[1]).contents.fp64_contents.append(1.0)
    request.inputs.add(name="b", datatype="INT64", shape=[1]).contents.int64_contents.append(2)
    request.inputs.add(name="tag", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"x")
    request.parameters["explain"].bool_param = True
    return request


def score_requests(prey: Prey, name: str) -> Iterator[ScoreRequest]:
    """Yields requests in which something is of the prey: a retry of its request, all its models, one of them."""
    for diagnostics in (Diagnostics(), Diagnostics(explain=True), Diagnostics(force_model=prey.model)):
        for request_id in ("", prey.request_id):
            for tag in ("x", prey.row):
                yield ScoreRequest(
                    request_id=request_id,
                    endpoint=name,
                    inputs=table(tag),
                    diagnostics=diagnostics,
                    context={"tenant": "bank"},
                )


def record_requests(prey: Prey, name: str) -> Iterator[RecordRequest]:
    """Yields outcomes of the prey's request and of its context, and one whose refusal might tell of its columns."""
    kind = OutcomeKind.OUTCOME_KIND_TRUTH
    for outcome in (
        Outcome(request_id=prey.request_id, feedback_id=prey.request_id, kind=kind, number=1.0),
        Outcome(key=BusinessKey(name="tenant", value="bank"), kind=kind, text="x"),
        Outcome(request_id=prey.request_id, kind=kind, number=1.0, output="nothing"),
    ):
        yield RecordRequest(endpoint=name, outcomes=[outcome])


def _calls(prey: Prey, name: str) -> Iterator[tuple[str, Message, Any]]:
    yield "/rendezvous.v1.Score/Describe", DescribeRequest(endpoint=name), ModelInfo
    for request in score_requests(prey, name):
        yield "/rendezvous.v1.Score/Score", request, ScoreReply
    for request in record_requests(prey, name):
        yield "/rendezvous.v1.Feedback/Record", request, RecordReply
    for model in (name, f"{name}/{prey.model}", f"{name}/{prey.model}x"):
        for version in ("", "1"):
            ready = oip.ModelReadyRequest(name=model, version=version)
            yield f"{OIP}ModelReady", ready, oip.ModelReadyResponse
            about = oip.ModelMetadataRequest(name=model, version=version)
            yield f"{OIP}ModelMetadata", about, oip.ModelMetadataResponse
        yield f"{OIP}ModelInfer", infer_request(model), oip.ModelInferResponse
        yield f"{OIP}ModelInfer", infer_request(model, prey.request_id), oip.ModelInferResponse
    for method in ("ServerLive", "ServerReady", "ServerMetadata"):
        answer = getattr(oip, f"{method}Response")
        yield f"{OIP}{method}", getattr(oip, f"{method}Request")(), answer
    for method in ("RepositoryIndex", "ModelStatistics", "ModelConfig"):
        yield f"{OIP}{method}", oip.ServerLiveRequest(), oip.ServerLiveResponse


def _call(
    channel: grpc.Channel,
    method: str,
    request: Message,
    answer: Any,
    headers: dict[str, str],
    seen: Seen,
    said: tuple[str, ...],
) -> None:
    call = channel.unary_unary(method, lambda message: message.SerializeToString(), answer.FromString)
    try:
        given, facts = call.with_call(request, timeout=10, metadata=metadata(headers))
    except grpc.RpcError as error:
        seen.add(f"{method} {told_by(error)}", *said)
    else:
        seen.add(f"{method} {given} {facts.initial_metadata()} {facts.trailing_metadata()}", *said)


def _stream(channel: grpc.Channel, name: str, headers: dict[str, str], seen: Seen) -> None:
    requests = [
        ScoreRequest(endpoint=name, inputs=table(), diagnostics=Diagnostics(explain=explain)) for explain in (0, 1)
    ]
    call = channel.stream_stream(
        "/rendezvous.v1.Score/ScoreStream", ScoreRequest.SerializeToString, ScoreReply.FromString
    )(iter(requests), timeout=20, metadata=metadata(headers))
    try:
        for reply in call:
            seen.add(reply, name)
    except grpc.RpcError as error:
        seen.add(told_by(error), name)


def _look_round(channel: grpc.Channel, headers: dict[str, str], seen: Seen) -> None:
    health, mirror = health_pb2_grpc.HealthStub(channel), reflection_pb2_grpc.ServerReflectionStub(channel)
    for service in SERVICES:
        try:
            seen.add(health.Check(health_pb2.HealthCheckRequest(service=service), metadata=metadata(headers)))
        except grpc.RpcError as error:
            seen.add(told_by(error))
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services="*"),
        reflection_pb2.ServerReflectionRequest(list_services="bank"),
        *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service) for service in SERVICES),
        reflection_pb2.ServerReflectionRequest(file_by_filename="/etc/passwd"),
    ]
    for answer in mirror.ServerReflectionInfo(iter(asked), metadata=metadata(headers)):
        seen.add(answer)
