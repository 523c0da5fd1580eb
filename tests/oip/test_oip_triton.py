"""tritonclient, as it is, in all four flavours: what goes in comes back, and what is asked for is answered."""

import struct
from typing import Any

import numpy as np
import pytest

from tests.oip.conftest import FLAVOURS, Inference

ROWS = 3
BYTES = ["", "00ff", "c3a4"]
TEXTS = ["", "7a61686c", "c3a4e29c93"]
NUMBERS: dict[str, Any] = {
    "BOOL": np.array([True, False, True]),
    "UINT8": np.array([0, 1, 255], "u1"),
    "UINT16": np.array([0, 1, 65535], "<u2"),
    "UINT32": np.array([0, 1, 2**32 - 1], "<u4"),
    "UINT64": np.array([0, 2**53 + 1, 2**64 - 1], "<u8"),
    "INT8": np.array([-128, 0, 127], "i1"),
    "INT16": np.array([-32768, 0, 32767], "<i2"),
    "INT32": np.array([-(2**31), 0, 2**31 - 1], "<i4"),
    "INT64": np.array([-(2**63), 2**53 + 1, 2**63 - 1], "<i8"),
    "FP16": np.array([-0.0, 65504.0, 5.9604645e-08], "<f2"),
    "FP32": np.array([-0.0, 1e-45, 3.4028235e38], "<f4"),
    "FP64": np.array([-0.0, 0.1, 1.7976931348623157e308], "<f8"),
}


def tensor(name: str, datatype: str, contents: Any, shape: list[int]) -> dict[str, Any]:
    """Returns an input as tests/oip/triton_client.py takes it."""
    return {"name": name, "datatype": datatype, "contents": contents, "shape": shape}


def kinds() -> list[dict[str, Any]]:
    """Returns one tensor of each datatype."""
    numbers = [tensor(kind.lower(), kind, array.tobytes().hex(), [ROWS]) for kind, array in NUMBERS.items()]
    return [*numbers, tensor("bytes", "BYTES", BYTES, [ROWS]), tensor("string", "BYTES", TEXTS, [ROWS])]


def infer(model: str, inputs: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Returns a request."""
    return {"do": "infer", "model": model, "inputs": inputs, **more}


def pair(**more: Any) -> dict[str, Any]:
    """Returns a good request of two rows to the endpoint `pair`; *more* may name another model."""
    inputs = [tensor("x", "FP64", np.array([1.5, 2.5]).tobytes().hex(), [2]), tensor("flag", "BOOL", "0001", [2])]
    return infer(more.pop("model", "pair"), inputs, **more)


def expected(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns what a model that echoes answers to *inputs*."""
    return {each["name"]: {key: each[key] for key in ("datatype", "shape", "contents")} for each in inputs}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_datatype_comes_back(inference: Inference, flavour: str) -> None:
    """Raw over gRPC, binary over REST, with and without compression: each element is the one that was sent."""
    plain, gzipped, deflated = inference.triton(
        flavour,
        [infer("kinds", kinds()), *(infer("kinds", kinds(), compression=each) for each in ("gzip", "deflate"))],
    )
    assert plain["outputs"] == expected(kinds())
    assert gzipped["outputs"] == deflated["outputs"] == plain["outputs"]


def json_kinds() -> list[dict[str, Any]]:
    """Returns one tensor of each datatype, in values that JSON holds."""
    return [each | ({"contents": TEXTS} if each["name"] == "bytes" else {}) for each in kinds()]


@pytest.mark.parametrize("flavour", ["http", "http_aio"])
def test_every_datatype_comes_back_as_json(inference: Inference, flavour: str) -> None:
    """Without the binary extension, too; bytes that are text, because JSON holds no others."""
    names = [each["name"] for each in json_kinds()]
    [answer] = inference.triton(flavour, [infer("kinds", json_kinds(), binary=False, outputs=names)])
    assert answer.get("outputs") == expected(json_kinds()), answer


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_who_answered_is_told(inference: Inference, flavour: str) -> None:
    """Name and id come back as asked; version, rule and request id stand in parameters that any client reads."""
    plain, odd, single = inference.triton(
        flavour,
        [
            pair(request_id=f"of-{flavour}", priority=3, parameters={"context.customer": "c-7", "more": 1}),
            pair(request_id="not ours: ä/1"),
            pair(model="pair/negated", parameters={"explain": True}),
        ],
    )
    assert (plain["model"], plain["id"]) == ("pair", f"of-{flavour}")
    told = plain["parameters"]
    assert told["rendezvous_request_id"] == f"of-{flavour}"
    assert (told["rendezvous_model"], told["rendezvous_rule"]) == ("echo", "steps[0].best")
    assert str(told["rendezvous_spec_revision"]) == plain["version"]
    assert (odd["id"], len(odd["parameters"]["rendezvous_request_id"])) == ("not ours: ä/1", 36)
    assert (single["model"], single["version"]) == ("pair/negated", "1")
    assert single["parameters"]["rendezvous_rule"] == "forced"
    assert '"model":' in single["parameters"]["rendezvous_decision"]
    assert single["outputs"]["flag"]["contents"] == "0100", "the model that was asked answers"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_outputs_are_those_asked_for(inference: Inference, flavour: str) -> None:
    """A subset in the order asked; the companion of missing values by its name."""
    wanted, masked = inference.triton(
        flavour, [pair(outputs=["flag", "x"]), infer("shaped", shaped(), outputs=["texts", "vector.missing"])]
    )
    assert list(wanted["outputs"]) == ["flag", "x"]
    assert list(masked["outputs"]) == ["texts", "vector.missing"]
    assert masked["outputs"]["vector.missing"]["contents"] == "0000"


def shaped() -> list[dict[str, Any]]:
    """Returns two rows of the endpoint `shaped`."""
    return [
        tensor("vector", "FP32", np.arange(6, dtype="<f4").tobytes().hex(), [2, 3]),
        tensor("matrix", "INT16", np.arange(8, dtype="<i2").tobytes().hex(), [2, 2, 2]),
        tensor("texts", "BYTES", ["61", "", "62", "63"], [2, 2]),
    ]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_missing_values_travel_beside_their_column(inference: Inference, flavour: str) -> None:
    """`<column>.missing` marks rows; it comes back only where something is missing, and NaN stays a number."""
    numbers = np.array([1.5, np.nan, 7.0])
    inputs = [
        *(each for each in kinds() if each["name"] not in ("fp64", "string")),
        tensor("fp64", "FP64", numbers.tobytes().hex(), [ROWS]),
        tensor("fp64.missing", "BOOL", "000001", [ROWS]),
        tensor("string", "BYTES", ["61", "62", "63"], [ROWS]),
        tensor("string.missing", "BOOL", "010000", [ROWS]),
    ]
    [answer] = inference.triton(flavour, [infer("kinds", inputs)])
    outputs = answer["outputs"]
    assert {name for name in outputs if name.endswith(".missing")} == {"fp64.missing", "string.missing"}
    assert outputs["fp64.missing"]["contents"] == "000001"
    assert outputs["fp64"]["contents"] == np.array([1.5, np.nan, 0.0]).tobytes().hex()
    assert (outputs["string.missing"]["contents"], outputs["string"]["contents"]) == ("010000", ["", "62", "63"])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_scalars_may_have_a_dimension_of_one(inference: Inference, flavour: str) -> None:
    """[n, 1] is taken for a column of scalars; one tensor for many columns only where it is the column's shape."""
    x = tensor("x", "FP64", np.array([1.0, 2.0]).tobytes().hex(), [2, 1])
    flag = tensor("flag", "BOOL", "0001", [2, 1])
    lone = tensor("x", "FP32", np.arange(8, dtype="<f4").tobytes().hex(), [2, 4])
    column, table, many = inference.triton(
        flavour, [infer("pair", [x, flag]), infer("lone", [lone]), infer("pair", [lone | {"datatype": "FP64"}])]
    )
    assert column["outputs"]["x"]["shape"] == [2]
    assert table["outputs"] == expected([lone])
    assert "one tensor for each column, x FP64 [-1], flag BOOL [-1]" in many["error"] or "shape" in many["error"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_endpoint_without_declared_inputs_takes_what_comes(inference: Inference, flavour: str) -> None:
    """Nothing is declared, so a tensor's own datatype and shape make the column."""
    x = tensor("x", "FP64", np.array([1.0, -2.0]).tobytes().hex(), [2])
    [answer] = inference.triton(flavour, [infer("any", [x])])
    assert answer["outputs"] == expected([x])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_timeout_is_the_requests_deadline(inference: Inference, flavour: str) -> None:
    """The model takes 0.5 s; a client that gives 0.1 s is told so, and one that gives 4 s is answered."""
    x = [tensor("x", "FP64", struct.pack("<d", 1.0).hex(), [1])]
    late, patient = inference.triton(
        flavour, [infer("sleepy", x, timeout=100_000), infer("sleepy", x, timeout=4_000_000)]
    )
    assert "within 95 ms" in late["error"]
    assert late["status"] in ("StatusCode.DEADLINE_EXCEEDED", "504")
    assert patient["outputs"] == expected(x)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_large_tensors(inference: Inference, flavour: str) -> None:
    """Tens of thousands of rows come back bit for bit; beyond the endpoint's limit the error names it."""
    rows = 60_000
    values = np.random.default_rng(1).integers(0, 2**63, rows).astype("<i8").view("<f8")
    values[~np.isfinite(values)] = 0
    x = tensor("x", "FP64", values.tobytes().hex(), [rows])
    larger = tensor("x", "FP64", bytes(8 * 100_001).hex(), [100_001])
    answer, refused = inference.triton(flavour, [infer("any", [x]), infer("any", [larger])])
    assert answer["outputs"] == expected([x])
    assert "limit" in refused["error"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_readiness_and_metadata(inference: Inference, flavour: str) -> None:
    """Endpoints are ready with the postbox, single models with a live replica; metadata is the signature."""
    asked = [
        ("is_server_live",),
        ("is_server_ready",),
        ("is_model_ready", "shaped"),
        ("is_model_ready", "shaped/echo"),
        ("is_model_ready", "shaped/echo", "1"),
        ("is_model_ready", "shaped/echo", "2"),
        ("is_model_ready", "shaped/absent"),
        ("get_server_metadata",),
        ("get_model_metadata", "shaped"),
        ("get_model_metadata", "shaped/negated"),
        ("get_model_metadata", "shaped/negated", "7"),
        ("get_model_metadata", "nothing"),
    ]
    answers = inference.triton(flavour, [{"do": do, "arguments": arguments} for do, *arguments in asked])
    assert answers[:7] == [True, True, True, True, True, False, False]
    server, model, single, old, unknown = answers[7:]
    assert server["name"] == "rendezvous"
    assert "binary_tensor_data" in server["extensions"]
    shapes = [(each["name"], each["datatype"], [int(size) for size in each["shape"]]) for each in model["inputs"]]
    assert shapes == [("vector", "FP32", [-1, 3]), ("matrix", "INT16", [-1, 2, 2]), ("texts", "BYTES", [-1, 2])]
    assert model["outputs"] == model["inputs"] == single["inputs"]
    assert (model["platform"], single["platform"]) == ("rendezvous_endpoint", "rendezvous_model")
    assert (single["name"], single["versions"], len(model["versions"])) == ("shaped/negated", ["1"], 1)
    assert "no live version '7'" in old["error"]
    assert "'nothing' does not exist here" in unknown["error"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_errors_say_what_to_do(inference: Inference, flavour: str) -> None:
    """Unknown names, versions, outputs and parameters are refused with the status of the table of errors."""
    cases: list[tuple[dict[str, Any], str, str, str]] = [
        (pair(model="pear"), "did you mean 'pair'", "NOT_FOUND", "404"),
        (pair(model="pair/eco"), "did you mean 'echo'", "NOT_FOUND", "404"),
        (pair(model="pair/"), "ends after the slash", "NOT_FOUND", "404"),
        (pair(model_version="99999"), "is in force", "NOT_FOUND", "404"),
        (pair(model="pair/echo", model_version="9"), "answered in version 1", "NOT_FOUND", "404"),
        (pair(outputs=["y"]), "output 'y' is unknown", "INVALID_ARGUMENT", "400"),
        (pair(outputs=["x", "x"]), "asked for twice", "INVALID_ARGUMENT", "400"),
        (pair(timeout=-1), "parameter timeout", "INVALID_ARGUMENT", "400"),
        (pair(parameters={"explain": "yes"}), "true or false", "INVALID_ARGUMENT", "400"),
    ]
    answers = inference.triton(flavour, [request for request, *_ in cases])
    for answer, (_, message, grpc_status, http_status) in zip(answers, cases, strict=True):
        assert message in answer.get("error", ""), answer
        assert answer["status"] in (f"StatusCode.{grpc_status}", http_status)
