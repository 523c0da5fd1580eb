"""What a model program takes from its environment, and the probe that is run so."""

import datetime as dt
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import ErrorCode, InvalidRequestError, RendezvousError
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.frames._types import DTYPES
from rendezvous_sdk import Client, serve, testing
from rendezvous_sdk.environment import options_from_environment
from rendezvous_sdk.probe import PROBE, TRIVIAL

VARIABLES = {
    "RENDEZVOUS_ENDPOINT": "credit",
    "RENDEZVOUS_MODEL": "tree",
    "RENDEZVOUS_VERSION": "2.1",
    "RENDEZVOUS_NATS": "nats://elsewhere:4222",
    "RENDEZVOUS_GRPC_HOST": "0.0.0.0",
    "RENDEZVOUS_GRPC_PORT": "8123",
    "RENDEZVOUS_ACK_WAIT": "500ms",
    "RENDEZVOUS_SCORING_LIMIT": "2s",
    "RENDEZVOUS_SINCE": "2026-03-01",
    "RENDEZVOUS_ENRICHER": "2",
}


def test_every_variable_sets_its_field() -> None:
    """Each variable is read into its option; empty ones count as not there."""
    assert options_from_environment({**VARIABLES, "RENDEZVOUS_MODEL": ""}) == {
        "endpoint": "credit",
        "version": "2.1",
        "nats": "nats://elsewhere:4222",
        "grpc_host": "0.0.0.0",
        "grpc_port": 8123,
        "ack_wait_s": 0.5,
        "scoring_limit_s": 2.0,
        "since": dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
        "enricher": 2,
    }


@pytest.mark.parametrize(("variable", "text"), [("RENDEZVOUS_ACK_WAIT", "soon"), ("RENDEZVOUS_GRPC_PORT", "high")])
def test_a_variable_that_does_not_fit_is_named(variable: str, text: str) -> None:
    """The error names the variable and its value."""
    with pytest.raises(InvalidRequestError, match=f"{variable}: .*{text}"):
        options_from_environment({variable: text})


def test_arguments_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` takes from the environment what it is not told, and says so when there is no endpoint."""
    served: list[Any] = []
    monkeypatch.setattr(
        sys.modules["rendezvous_sdk.serve"], "serve_with", lambda _model, options: served.append(options)
    )
    for variable, text in VARIABLES.items():
        monkeypatch.setenv(variable, text)
    serve(lambda table: table, name="mine", grpc_port=0, scoring_limit_s=3.0)
    options = served[0]
    assert (options.endpoint, options.name, options.version) == ("credit", "mine", "2.1")
    assert (options.grpc_host, options.grpc_port) == ("0.0.0.0", 0)
    assert (options.ack_wait_s, options.scoring_limit_s) == (0.5, 3.0)
    monkeypatch.delenv("RENDEZVOUS_ENDPOINT")
    with pytest.raises(InvalidRequestError, match="RENDEZVOUS_ENDPOINT"):
        serve(lambda table: table)


@pytest.fixture
def probe() -> Iterator[str]:
    """The probe as a process, over gRPC only in effect: no NATS answers, so its `ready` never comes."""
    environment = {
        **os.environ,
        "RENDEZVOUS_SCORING_LIMIT": "300ms",
        "RENDEZVOUS_ENDPOINT": "e",
        "PYTHONUNBUFFERED": "1",
    }
    code = "from rendezvous_sdk import serve; from rendezvous_sdk.probe import PROBE; serve(PROBE, postbox=False)"
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    drain = threading.Thread(target=process.stdout.read)
    drain.start()
    yield line.rpartition(" ")[2].strip()
    process.terminate()
    assert process.wait(10) == 0
    drain.join()
    process.stdout.close()


def command(text: str) -> v1.Frame:
    """A request of one row with one command, all else missing."""
    table = encode_frame({"command": [text]})
    for spec in PROBE.info.signature.inputs[1:]:
        column = table.columns.add(name=spec.name, type=spec.type, shape=spec.shape, missing=b"\x01")
        each = math.prod(spec.shape)
        if spec.type == v1.DataType.DATA_TYPE_STRING:
            column.strings.extend([""] * each)
        elif spec.type == v1.DataType.DATA_TYPE_BYTES:
            column.blobs.extend([b""] * each)
        else:
            column.values = bytes(DTYPES[int(spec.type)].itemsize * each)
    return table


def test_the_probe_misbehaves_on_command_and_lives(probe: str) -> None:
    """Over gRPC: errors, severe errors, wrong outputs and hangs are answered, and the process goes on."""
    cases = [
        ("fail:no luck", ErrorCode.MODEL_FAILED, "the model raised ValueError: no luck"),
        ("error:worse", ErrorCode.MODEL_FAILED, "the model raised SystemExit: worse"),
        ("hang", ErrorCode.MODEL_FAILED, "the model took longer than 0.3 s (its scoring limit)"),
        ("sleep:5000", ErrorCode.MODEL_FAILED, "the model took longer than 0.3 s (its scoring limit)"),
        ("wrong-rows", ErrorCode.INVALID_OUTPUT, "0 rows for 1"),
        ("wrong-type", ErrorCode.INVALID_OUTPUT, "'fp64'"),
        ("missing-column", ErrorCode.INVALID_OUTPUT, "'strict'"),
        ("nan", ErrorCode.INVALID_OUTPUT, "'strict' is nan"),
    ]
    with Client(probe) as client:
        for text, code, message in cases:
            with pytest.raises(RendezvousError) as caught:
                client.score(command(text))
            assert caught.value.code == code, text
            assert message in caught.value.message
        assert client.score(command("echo"))["strict"].tolist() == [0.5]


def test_the_probe_echoes_what_is_missing() -> None:
    """A table that is missing everywhere comes back with its shapes."""
    request = command("")
    with testing.Postbox(PROBE) as box:
        outputs = box.score(request).reply.outputs
    assert list(outputs.columns)[:-1] == list(request.columns)[1:]


def test_the_trivial_model_gives_its_first_fp64_column() -> None:
    """What the bench measures."""
    with testing.Postbox(TRIVIAL) as box:
        assert box.score({"a": [1, 2], "x": [0.5, 1.5]})["y"].tolist() == [0.5, 1.5]
