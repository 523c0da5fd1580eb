"""The conformance vectors: well-formed, up to date, and agreed with by this implementation."""

import json
import math
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # ships no types
import numpy as np
import pytest
from rendezvous_proto import postbox, v1
from rendezvous_proto.deadlines import is_expired
from rendezvous_proto.errors import ERROR_TABLE, ErrorCode, InvalidFrameError, InvalidRequestError
from rendezvous_proto.frames import (
    FrameView,
    check_frame,
    encode_frame,
    join_frames,
    slice_frame,
    split_frame,
    type_number,
)
from rendezvous_proto.vectors import TOPICS, load_vectors

FOLDER = Path(__file__).resolve().parents[1] / "vectors"


def cases(topic: str, *kinds: str) -> list[Any]:
    """Returns the cases of a topic as parameters named after them."""
    chosen = [case for case in load_vectors(topic) if not kinds or case["kind"] in kinds]
    return [pytest.param(case, id=case["name"]) for case in chosen]


VALID = [*cases("frames", "valid"), *cases("missing", "valid")]


def parsed(wire: str) -> v1.Frame:
    """Parses a frame given as hexadecimal."""
    return v1.Frame.FromString(bytes.fromhex(wire))


def python_value(kind: str, value: Any) -> Any:
    """Returns what a JSON value stands for."""
    if isinstance(value, list):
        return [python_value(kind, part) for part in value]
    if value is None or kind in {"STRING", "BOOL"}:
        return value
    if kind == "BYTES":
        return bytes.fromhex(value)
    return float(value) if kind.startswith("FP") else int(value)


def same(left: Any, right: Any) -> bool:
    """Compares values, NaN equal to NaN and the sign of zero seen."""
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        nan = math.isnan(left) and math.isnan(right)
        return nan or (left == right and math.copysign(1, left) == math.copysign(1, right))
    return type(left) is type(right) and bool(left == right)


@pytest.mark.parametrize("topic", TOPICS)
def test_files_follow_the_schema(topic: str) -> None:
    """Each file is what schema.json says."""
    schema = json.loads((FOLDER / "schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((FOLDER / f"{topic}.json").read_text()), schema)


def test_files_are_those_of_the_script() -> None:
    """The committed files are what the independent script writes."""
    script = [sys.executable, str(FOLDER / "make_vectors.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_script_is_independent_of_the_codec() -> None:
    """The scripts that write the vectors import nothing of the code that they test."""
    for script in FOLDER.glob("*.py"):
        text = script.read_text()
        assert "import rendezvous" not in text
        assert "from rendezvous" not in text


def test_a_wheel_holds_every_topic() -> None:
    """The wheel's list of files has each topic."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert sorted(included) == sorted(f"vectors/{topic}.json" for topic in TOPICS)


def test_unknown_topic_is_refused() -> None:
    """A topic that does not exist is an error that names those that do."""
    with pytest.raises(ValueError, match="frames, missing"):
        load_vectors("frame")


@pytest.mark.parametrize("case", VALID)
def test_valid_frames_are_read(case: dict[str, Any]) -> None:
    """Rows, names, types, shapes and values of a received frame are the table's."""
    view = FrameView(parsed(case["wire"]))
    assert view.rows == case["rows"]
    assert list(view.names) == [column["name"] for column in case["columns"]]
    for column in case["columns"]:
        name, kind = column["name"], column["type"]
        assert view.type(name) == type_number(kind)
        assert view.shape(name) == tuple(column["shape"])
        assert same(view.column(name), python_value(kind, column["values"]))


@pytest.mark.parametrize("case", [c for c in VALID if c.values[0]["columns"]])  # else rows cannot be told
def test_valid_frames_are_written(case: dict[str, Any]) -> None:
    """The table, encoded, is the frame: every field of every column, byte by byte."""
    columns = case["columns"]
    frame = encode_frame(
        {column["name"]: python_value(column["type"], column["values"]) for column in columns},
        types={column["name"]: column["type"] for column in columns},
    )
    for column, expected in zip(frame.columns, columns, strict=True):
        assert column.values.hex() == expected["encoded"]["values"]
        assert list(column.strings) == expected["encoded"]["strings"]
        assert [blob.hex() for blob in column.blobs] == expected["encoded"]["blobs"]
        assert column.missing.hex() == expected["encoded"]["missing"]
    assert frame == parsed(case["wire"])


@pytest.mark.parametrize("case", cases("frames", "invalid"))
def test_invalid_frames_are_refused(case: dict[str, Any]) -> None:
    """A frame that contradicts itself is refused with the code and the name of the column."""
    with pytest.raises(InvalidFrameError) as caught:
        check_frame(parsed(case["wire"]))
    assert caught.value.code.name == case["error"]
    assert caught.value.attributes.get("column", "") == case["column"]
    assert case["column"] in str(caught.value)


@pytest.mark.parametrize("case", cases("missing", "slice"))
def test_slices_shift_bitmaps(case: dict[str, Any]) -> None:
    """Rows cut out of a frame keep which of them are missing."""
    cut = slice_frame(parsed(case["wire"]), case["start"], case["stop"])
    assert cut == parsed(case["expected"])


@pytest.mark.parametrize("case", cases("missing", "join"))
def test_joins_shift_bitmaps(case: dict[str, Any]) -> None:
    """Joined frames keep which rows are missing, and come apart again."""
    parts = [parsed(wire) for wire in case["parts"]]
    joined = join_frames(parts)
    assert joined == parsed(case["expected"])
    assert split_frame(joined, [part.rows for part in parts]) == parts


@pytest.mark.parametrize("case", cases("parcels"))
def test_parcels_come_apart_by_request(case: dict[str, Any]) -> None:
    """Each request of a parcel gets its own rows of inputs and outputs back."""
    items = case["items"]
    scored = [item for item in items if item["error"] is None]
    for side, chosen in (("inputs", items), ("outputs", scored)):
        frame = encode_frame({"row": list(range(case[f"{side.removesuffix('s')}_rows"]))}, types={"row": "INT32"})
        parts = split_frame(frame, [item["rows"] for item in chosen])
        for item, part in zip(chosen, parts, strict=True):
            assert FrameView(part).column("row") == list(range(*item[side]))


@pytest.mark.parametrize("case", cases("deadlines"))
def test_expiry_follows_the_brokers_clock(case: dict[str, Any]) -> None:
    """An item is expired by the broker's clock alone, whatever the model's own says."""
    assert case["expired"] == is_expired(
        stored_unix_us=int(case["stored_unix_us"]),
        budget_us=case["budget_us"],
        broker_now_unix_us=int(case["broker_now_unix_us"]),
    )


def test_error_table_is_that_of_the_vectors() -> None:
    """Every code is in the vectors, once, with the same facts."""
    expected = [
        (c["code"], c["name"], c["retryable"], c["grpc_status"], c["http_status"]) for c in load_vectors("errors")
    ]
    actual = [(c, c.name, f.retryable, f.grpc_status, f.http_status) for c, f in ERROR_TABLE.items()]
    assert actual == expected
    assert list(ERROR_TABLE) == list(ErrorCode)


@pytest.mark.parametrize("case", cases("nans"))
def test_nan_is_a_number_whatever_its_payload(case: dict[str, Any]) -> None:
    """Every bit pattern of NaN is NaN and not missing, and keeps its bits on the way through."""
    frame = parsed(case["wire"])
    view = FrameView(frame)
    missing = view.missing("x")
    assert missing is not None
    assert missing.tolist() == case["missing"]
    assert np.isnan(view["x"]).tolist() == case["nan"]
    again = encode_frame({"x": view["x"]}, types={"x": case["type"]})
    assert again.columns[0].values == frame.columns[0].values


@pytest.mark.parametrize("case", cases("names", "name", "version"))
def test_names_and_versions(case: dict[str, Any]) -> None:
    """What may be a name is taken as it is, anything else refused before it gets anywhere."""
    is_version = case["kind"] == "version"
    if not case["valid"]:
        with pytest.raises(InvalidRequestError):
            postbox.check_version(case["value"]) if is_version else postbox.check_name("model", case["value"])
    elif is_version:
        assert postbox.version_token(case["value"]) == case["token"]
    else:
        assert postbox.check_name("request id", case["value"]) == case["value"]


@pytest.mark.parametrize("case", cases("names", "addresses"))
def test_addresses_in_nats(case: dict[str, Any]) -> None:
    """Subjects, streams, consumer, keys and headers follow from the names."""
    endpoint, model, version, router = (case[key] for key in ("endpoint", "model", "version", "router"))
    assert case["subjects"] == {
        "raw": postbox.raw_subject(endpoint),
        "raw_of_stage_2": postbox.raw_subject(endpoint, 2),
        "raw_of_later_stages": postbox.raw_subjects(endpoint),
        "input": postbox.input_subject(endpoint),
        "decision": postbox.decision_subject(endpoint),
        "feedback": postbox.feedback_subject(endpoint),
        "score": postbox.score_subject(endpoint, model, router),
        "scores_of_router": postbox.router_scores_subject(router),
        "scores_of_endpoint": postbox.score_subjects(endpoint),
    }
    assert case["streams"] == {"durable": postbox.durable_stream(endpoint), "scores": postbox.score_stream(endpoint)}
    assert case["consumer"] == postbox.consumer_name(model, version)
    assert case["keys"] == {
        postbox.ENDPOINTS_BUCKET: postbox.endpoint_key(endpoint),
        postbox.MODELS_BUCKET: postbox.model_key(endpoint, model, version),
        postbox.REPLICAS_BUCKET: postbox.replica_key(endpoint, model, version, case["replica"]),
        postbox.ROUTERS_BUCKET: postbox.router_key(router),
    }
    assert case["headers"] == {postbox.MSG_ID_HEADER: case["parcel_id"]}
    assert case["raw_message_ids"] == [postbox.raw_message_id(case["parcel_id"], stage) for stage in (1, 2)]
