"""The scorecard on the bare messages, in each language that is built: the contract, and the answers of Python."""

import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView

from tests.support.languages import require_language
from tests.support.processes import script
from tests.support.scorecards import BARE, Served, applicants, load_reference, sound, table

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SERVICE = "rendezvous.v1.Score"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The scorecard in Python."""
    return load_reference()


@pytest.fixture(scope="module", params=BARE)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The scorecard of each language."""
    require_language(request.param)
    running = Served(request.param, tmp_path_factory.mktemp(request.param) / "log")
    yield running
    assert running.close() == 0


def test_answers_equal_python(served: Served, reference: ModuleType) -> None:
    """A thousand applicants get the answers of the Python scorecard, to 1e-12, whether sent together or in parts."""
    rows = applicants(1000, 7)
    expected = reference.score(rows)
    for size in (1000, 1, 7):
        part = rows[: 40 * size]
        for start in range(0, len(part), size):
            outputs = FrameView(served.score(table(part[start : start + size])).outputs).to_dict()
            assert outputs["label"] == expected["label"][start : start + size]
            assert outputs["default_probability"] == pytest.approx(
                expected["default_probability"][start : start + size], rel=0, abs=1e-12
            )


def test_describe(served: Served, reference: ModuleType) -> None:
    """Describe gives name, version, language, runtime, packages, labels and the signature of the README."""
    for endpoint in ("", "scorecard", served.name):
        info = served.stub.Describe(v1.DescribeRequest(endpoint=endpoint), timeout=10)
        assert (info.name, info.version, info.task) == (served.name, "1.2", "classification")
        assert info.signature == reference.SIGNATURE
        assert tuple(info.labels) == reference.LABELS
        assert all((info.language, info.runtime, info.description, info.packages))
        assert all(package.name and package.version for package in info.packages)
    with pytest.raises(grpc.RpcError) as caught:
        served.stub.Describe(v1.DescribeRequest(endpoint="other"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reply(served: Served) -> None:
    """A reply carries the request's id (or a new UUID version 7), model, version, rows and times in order."""
    reply = served.score(sound(), request_id="mine-1", endpoint="scorecard")
    assert (reply.request_id, reply.model, reply.version) == ("mine-1", served.name, "1.2")
    assert reply.outputs.rows == 3
    times = reply.timing
    assert 0 < times.received_unix_us <= times.started_unix_us <= times.finished_unix_us
    made = [served.score(sound()).request_id for _ in range(3)]
    assert len(set(made)) == 3
    assert {(uuid.UUID(each).version, str(uuid.UUID(each)) == each) for each in made} == {(7, True)}


@pytest.mark.parametrize(
    ("field", "metadata", "expected"),
    [
        (TRACE, "", TRACE),
        ("", TRACE, TRACE),
        (TRACE, TRACE.replace("b7", "c7"), TRACE),
        ("", "", ""),
        ("00-xyz-1", "", ""),
        (TRACE.upper(), "", ""),
        (TRACE.replace("00-", "ff-", 1), "", ""),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", "", ""),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", "", ""),
    ],
)
def test_trace(served: Served, field: str, metadata: str, expected: str) -> None:
    """A trace context comes back unchanged, from the request, else the call's metadata; a malformed one is ignored."""
    reply = served.stub.Score(
        v1.ScoreRequest(inputs=sound(), traceparent=field),
        timeout=10,
        metadata=(("traceparent", metadata),) if metadata else (),
    )
    assert reply.traceparent == expected
    assert reply.outputs.rows == 3


def _changed(column: str, **fields: Any) -> v1.Frame:
    frame = sound()
    chosen = next(each for each in frame.columns if each.name == column)
    for name, value in fields.items():
        if name in {"shape", "strings", "blobs"}:
            chosen.ClearField(name)
            getattr(chosen, name).extend(value)
        else:
            setattr(chosen, name, value)
    return frame


def _with(*columns: v1.Column, rows: int = 3) -> v1.Frame:
    frame = sound()
    frame.rows = rows
    frame.columns.extend(columns)
    return frame


BAD_FRAMES = {
    "negative rows": (_with(rows=-1), ""),
    "no rows": (v1.Frame(), ""),
    "no name": (_with(v1.Column(type=7)), ""),
    "one name twice": (_with(sound().columns[1]), "duration_months"),
    "type not set": (_changed("age_years", type=0), "age_years"),
    "unknown type": (_changed("age_years", type=99), "age_years"),
    "too few bytes": (_changed("age_years", values=b"\0" * 23), "age_years"),
    "too many bytes": (_changed("age_years", values=b"\0" * 25), "age_years"),
    "too few strings": (_changed("checking_account", strings=["a"]), "checking_account"),
    "bytes beside strings": (_changed("checking_account", values=b"\0"), "checking_account"),
    "blobs beside bytes": (_changed("age_years", blobs=[b""]), "age_years"),
    "negative dimension": (_changed("age_years", shape=[-1]), "age_years"),
    "nine dimensions": (_changed("age_years", shape=[1] * 9), "age_years"),
    "dimensions that wrap to 0": (_changed("age_years", shape=[2**32, 2**32], values=b""), "age_years"),
    "rows that wrap to 0": (_with(v1.Column(name="x", type=12, shape=[8]), rows=2**61), "checking_account"),
    "byte 2 in BOOL": (_with(v1.Column(name="b", type=1, values=b"\0\2\1")), "b"),
    "bitmap too long": (_changed("credit_amount", missing=b"\0\0"), "credit_amount"),
    "spare bit": (_changed("credit_amount", missing=b"\x08"), "credit_amount"),
}
MISMATCHES = {
    "unknown column": (_with(v1.Column(name="extra", type=12, values=b"\0" * 24)), "extra"),
    "absent column": (v1.Frame(rows=3, columns=sound().columns[:3]), "age_years"),
    "another type": (_changed("age_years", type=12), "age_years"),
    "another shape": (_changed("age_years", shape=[1]), "age_years"),
    "missing where not allowed": (_changed("age_years", missing=b"\2"), "age_years"),
    "NaN": (_changed("credit_amount", missing=b"", values=b"\0" * 16 + b"\0\0\0\0\0\0\xf8\x7f"), "credit_amount"),
    "infinite": (_changed("credit_amount", missing=b"", values=b"\0" * 16 + b"\0\0\0\0\0\0\xf0\xff"), "credit_amount"),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_frame(served: Served, case: str) -> None:
    """A frame that contradicts itself is refused with INVALID_FRAME, by the column's name."""
    frame, column = BAD_FRAMES[case]
    status, error = served.refusal(v1.ScoreRequest(inputs=frame))
    assert (status, error.code) == (grpc.StatusCode.INVALID_ARGUMENT, v1.ErrorCode.ERROR_CODE_INVALID_FRAME)
    assert error.attributes.get("column", "") == column
    assert column in error.message


@pytest.mark.parametrize("case", MISMATCHES)
def test_mismatch(served: Served, case: str) -> None:
    """A sound frame that does not fit the signature is refused with SIGNATURE_MISMATCH, by the column's name."""
    frame, column = MISMATCHES[case]
    status, error = served.refusal(v1.ScoreRequest(inputs=frame))
    assert (status, error.code) == (grpc.StatusCode.INVALID_ARGUMENT, v1.ErrorCode.ERROR_CODE_SIGNATURE_MISMATCH)
    assert error.attributes["column"] == column
    assert column in error.message


@pytest.mark.parametrize(
    "frame", [_changed("age_years", name="ü" * 5000), _changed("age_years", name="ü" * 5000, type=0)]
)
def test_long_names_are_cut(served: Served, frame: v1.Frame) -> None:
    """Whatever a request is called, the message stays short."""
    for request in (
        v1.ScoreRequest(inputs=frame),
        v1.ScoreRequest(inputs=sound(), request_id="ü" * 5000),
        v1.ScoreRequest(inputs=sound(), endpoint="ü" * 5000),
        v1.ScoreRequest(inputs=sound(), diagnostics=v1.Diagnostics(force_model="ü" * 5000)),
    ):
        _, error = served.refusal(request)
        assert len(error.message) <= 400
        assert len(error.attributes.get("column", "")) <= 90


def test_missing_row_is_not_looked_at(served: Served, reference: ModuleType) -> None:
    """What stands in a missing row does not matter: NaN there is no mismatch, text there is no value."""
    frame = _changed("credit_amount", missing=b"\7", values=b"\xff" * 24)
    account = next(each for each in frame.columns if each.name == "checking_account")
    account.missing = b"\7"
    account.strings[:] = ["no checking account"] * 3
    rows = [row | {"credit_amount": None, "checking_account": None} for row in FrameView(sound()).to_records()]
    actual = FrameView(served.score(frame).outputs).column("default_probability")
    assert actual == pytest.approx(reference.score(rows)["default_probability"], rel=0, abs=1e-12)


def test_columns_in_any_order(served: Served) -> None:
    """The order of the columns has no meaning."""
    frame = sound()
    turned = v1.Frame(rows=frame.rows, columns=reversed(frame.columns))
    assert served.score(turned).outputs == served.score(frame).outputs


def test_too_many_rows(served: Served) -> None:
    """A table with more rows than the model's limit is refused with TOO_LARGE."""
    rows = 100_001
    columns = [v1.Column(name="x", type=12, shape=[0])]
    status, error = served.refusal(v1.ScoreRequest(inputs=v1.Frame(rows=rows, columns=columns)))
    assert (status, error.code) == (grpc.StatusCode.INVALID_ARGUMENT, v1.ErrorCode.ERROR_CODE_TOO_LARGE)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"request_id": "a b"}, "INVALID_ARGUMENT", "INVALID_REQUEST"),
        ({"request_id": "a" * 65}, "INVALID_ARGUMENT", "INVALID_REQUEST"),
        ({"request_id": "a\n"}, "INVALID_ARGUMENT", "INVALID_REQUEST"),
        ({"request_id": "ä"}, "INVALID_ARGUMENT", "INVALID_REQUEST"),
        ({"endpoint": "other"}, "NOT_FOUND", "UNKNOWN_ENDPOINT"),
        ({"diagnostics": v1.Diagnostics(force_model="other")}, "NOT_FOUND", "UNKNOWN_MODEL"),
    ],
)
def test_bad_request(served: Served, fields: dict[str, Any], status: str, code: str) -> None:
    """A malformed id, an endpoint or model that is not served here are refused, each with its own code."""
    actual, error = served.refusal(v1.ScoreRequest(inputs=sound(), **fields))
    assert actual is grpc.StatusCode[status]
    assert v1.ErrorCode.Name(error.code) == f"ERROR_CODE_{code}"


def test_stream(served: Served) -> None:
    """A stream answers each request once, by id; one that fails is a reply with an error, and the others go on."""
    requests = [
        v1.ScoreRequest(request_id=f"r{index}", inputs=sound() if index % 3 else v1.Frame(rows=1), traceparent=TRACE)
        for index in range(60)
    ]
    requests.append(v1.ScoreRequest(inputs=sound()))
    replies = list(served.stub.ScoreStream(iter(requests), timeout=20))
    assert len(replies) == 61
    by_id = {reply.request_id: reply for reply in replies}
    assert len(by_id) == 61
    for index in range(60):
        reply = by_id[f"r{index}"]
        assert reply.HasField("error") == (index % 3 == 0), reply
        assert reply.HasField("outputs") != reply.HasField("error")
        assert (reply.traceparent, reply.model) == (TRACE, served.name)


def test_health(served: Served) -> None:
    """Health is SERVING for the server and for the service, and NOT_FOUND for any other."""
    stub = health_pb2_grpc.HealthStub(served.channel)
    for service in ("", SERVICE):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection(served: Served) -> None:
    """Reflection lists the service and gives the files of its messages."""
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, found = stub.ServerReflectionInfo(iter(asked), timeout=10)
    assert {SERVICE, "grpc.health.v1.Health"} <= {each.name for each in listed.list_services_response.service}
    assert any(b"ScoreRequest" in each for each in found.file_descriptor_response.file_descriptor_proto)


def test_conformance(served: Served) -> None:
    """The live kit finds nothing to complain of, over gRPC."""
    command = [script("rendezvous"), "conformance", f"grpc://{served.address}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ready_line(served: Served) -> None:
    """The program announces itself with one line that names model, endpoint, replica and address."""
    assert served.ready.startswith(f"ready: model {served.name}:1.2 of endpoint scorecard, replica {served.name}-")
    assert f", grpc {served.address}" in served.ready


@pytest.mark.parametrize("language", BARE)
def test_drain(language: str, tmp_path: Path) -> None:
    """SIGTERM: what was begun is answered, an idle stream does not keep the process, and it ends with status 0."""
    require_language(language)
    running = Served(language, tmp_path / "log")
    large = table(applicants(20_000, 3))
    asked = [v1.ScoreRequest(inputs=sound()), *[v1.ScoreRequest(inputs=large)] * 4]
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    replies = running.stub.ScoreStream(iter(asked), timeout=20)
    assert next(replies).outputs.rows == 3
    running.process.signal(signal.SIGTERM)
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert [reply.outputs.rows for reply in replies] == [20_000] * 4
    assert running.process.popen.wait(9.0) == 0
    assert running.close() == 0


@pytest.mark.parametrize("language", BARE)
def test_second_signal(language: str, tmp_path: Path) -> None:
    """A second SIGTERM ends what the first one waits for."""
    require_language(language)
    running = Served(language, tmp_path / "log")
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    running.process.signal(signal.SIGTERM)
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    running.process.signal(signal.SIGTERM)
    running.process.popen.wait(2.0)
    running.close()
