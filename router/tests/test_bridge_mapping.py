"""Mappings: addresses, options, files, plans, and what a plan does to tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidOutputError, SignatureMismatchError
from rendezvous_proto.frames import FrameView, encode_frame, type_number
from rendezvous_router.bridge import BridgeError, load_mapping, parse_address, parse_inputs, parse_outputs
from rendezvous_router.bridge.far import FarColumn, FarInfo
from rendezvous_router.bridge.mapping import ColumnSource, MappingSpec, TensorSource, parse_mapping
from rendezvous_router.bridge.plan import Plan, make_plan

NUMBERS = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64")


def column(name: str, kind: str, shape: tuple[int, ...] = (), **flags: bool) -> v1.ColumnSpec:
    """Returns a column of a signature."""
    return v1.ColumnSpec(name=name, type=f"DATA_TYPE_{kind}", shape=shape, **flags)


def tensor(name: str, kind: str = "", shape: tuple[int, ...] | None = None, **flags: bool) -> FarColumn:
    """Returns a tensor that a model declares, without its batch."""
    return FarColumn(name=name, type=type_number(kind) if kind else 0, shape=shape, **flags)


def oip(*, inputs: tuple[FarColumn, ...] = (), outputs: tuple[FarColumn, ...] = ()) -> FarInfo:
    """Returns what an Open Inference server says."""
    return FarInfo(info=v1.ModelInfo(), inputs=inputs, outputs=outputs)


def bare(*, inputs: tuple[FarColumn, ...] = (), outputs: tuple[FarColumn, ...] = ()) -> FarInfo:
    """Returns what a server of Score says."""
    return FarInfo(info=v1.ModelInfo(), inputs=inputs, outputs=outputs, carries_missing=True, tells_text=True)


def signature(*, inputs: tuple[v1.ColumnSpec, ...] = (), outputs: tuple[v1.ColumnSpec, ...] = ()) -> v1.Signature:
    """Returns an endpoint's signature."""
    return v1.Signature(inputs=inputs, outputs=outputs)


def sent(plan: Plan, table: dict[str, Any]) -> dict[str, list[Any]]:
    """Returns what the model is given for *table*."""
    return FrameView(plan.to_far(encode_frame(table))).to_dict()


def answered(plan: Plan, table: dict[str, Any]) -> dict[str, list[Any]]:
    """Returns what the endpoint is given for the model's *table*."""
    return FrameView(plan.from_far(encode_frame(table))).to_dict()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("grpc://host:8001", ("grpc", "host:8001", "", "")),
        ("grpc://[::1]:8001/credit", ("grpc", "[::1]:8001", "credit", "")),
        ("oip+grpc://h:1/a%20b/2", ("oip+grpc", "h:1", "a b", "2")),
        ("oip+http://h:8080/m/", ("oip+http", "h:8080", "m", "")),
    ],
)
def test_addresses_are_read(text: str, parts: tuple[str, str, str, str]) -> None:
    """Scheme, target, model and version come out as written, and go back to the same address."""
    address = parse_address(text)
    assert (address.scheme, address.target, address.model, address.version) == parts
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localhost:8001", "has no scheme"),
        ("grcp://h:1", "did you mean 'grpc'?"),
        ("http://h:1/m", "did you mean 'oip+http'?"),
        ("grpc://h", "has no port"),
        ("grpc://:8001", "has no host"),
        ("grpc://h:99999", "between 1 and 65535"),
        ("oip+grpc://h:1", "does not name the model"),
        ("oip+http://h:1/m/1/infer", "has 3 parts, at most 2"),
        ("grpc://me:secret@h:1", "only host, port and path"),
    ],
)
def test_wrong_addresses_are_refused(text: str, message: str) -> None:
    """What is wrong with an address is said, with the forms that are right."""
    with pytest.raises(BridgeError, match="oip\\+grpc://host:port/model") as caught:
        parse_address(text)
    assert message in str(caught.value)


def test_mappings_on_the_command_line_say_what_a_file_says() -> None:
    """Options are read into the same as the file's keys."""
    assert parse_inputs("x:FP32=[a, b],reason=purpose") == {
        "x": TensorSource(pack=["a", "b"], datatype="FP32"),
        "reason": TensorSource(column="purpose"),
    }
    assert parse_outputs("risk:FP64=p[1], [low,high]=q,label=predict") == {
        "risk": ColumnSource(tensor="p", index=1, type="FP64"),
        "low": ColumnSource(tensor="q", index=0),
        "high": ColumnSource(tensor="q", index=1),
        "label": ColumnSource(tensor="predict"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "write tensor=column"),
        ("x=[a,b", "write tensor=column"),
        ("x=a[1]", "write tensor=column"),
        ("x:FP23=[a]", "did you mean 'FP32'?"),
    ],
)
def test_wrong_options_are_refused(text: str, message: str) -> None:
    """A part that cannot be read is quoted; a datatype gets its nearest."""
    with pytest.raises(BridgeError, match="--inputs") as caught:
        parse_inputs(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("input: {}", "input: unknown key, did you mean 'inputs'?"),
        ("inputs: {x: {packs: [a]}}", "inputs.x.packs: unknown key, did you mean 'pack'?"),
        ("inputs: {x: {pack: []}}", "inputs.x.pack: is empty"),
        ("inputs: {x: {pack: [a], column: b}}", "has both a column and a pack"),
        ("outputs: {y: {tensor: p, index: -1}}", "outputs.y.index: -1: positions are counted from 0"),
        ("contents: rwa", "did you mean 'raw'?"),
        ("missing: {a: [1]}", "missing.a"),
        ("inputs: [", "is not YAML"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, document: str, message: str) -> None:
    """Each fault of a mapping file names the file, the path in it and the nearest key."""
    path = tmp_path / "mapping.yaml"
    path.write_text(document)
    with pytest.raises(BridgeError) as caught:
        load_mapping(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_straight_tables_are_not_copied() -> None:
    """Where names, types and shapes are the model's own, the frame that came is the frame that goes."""
    inputs, outputs = (tensor("a", "FP64", ()),), (tensor("y", "FP64", ()),)
    specs = signature(inputs=(column("a", "FP64"),), outputs=(column("y", "FP64"),))
    plan = make_plan(MappingSpec(), bare(inputs=inputs, outputs=outputs), specs)
    frame = encode_frame({"a": [1.0]})
    assert plan.to_far(frame) is frame
    answer = encode_frame({"y": [1.0]})
    assert plan.from_far(answer) is answer


def test_nothing_declared_goes_by_name() -> None:
    """Where neither side declares anything, every column is sent and every tensor taken; bytes come as text."""
    plan = make_plan(MappingSpec(), oip(), signature())
    assert sent(plan, {"a": [1], "t": ["x"]}) == {"a": [1], "t": ["x"]}
    assert answered(plan, {"y": [b"\xc3\xa4"]}) == {"y": ["ä"]}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("wanted", ["FP32", "FP64"])
def test_numbers_become_the_type_that_the_model_declares(kind: str, wanted: str) -> None:
    """A column of any number type is converted, its scalar given the model's shape of one."""
    plan = make_plan(
        MappingSpec(), oip(inputs=(tensor("a", wanted, (1,)),)), signature(inputs=(column("a", kind, ()),))
    )
    made = plan.to_far(encode_frame({"a": [1, 2]}, types={"a": kind})).columns[0]
    assert (made.type, list(made.shape)) == (type_number(wanted), [1])
    assert FrameView(v1.Frame(rows=2, columns=[made]))["a"].tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [300]}, "does not fit type INT8"),
        ({"a": ["x"]}, "STRING cannot become INT8"),
        ({"a": [[1, 2]]}, "not any type[]"),
        ({"b": [1]}, "column 'a' is absent"),
        ({"a": [1, None]}, "is missing in row 1, and the model server cannot be given missing values"),
    ],
)
def test_what_cannot_be_sent_is_that_requests_fault(table: dict[str, Any], message: str) -> None:
    """A value that the model cannot be given is SIGNATURE_MISMATCH, naming column and row."""
    plan = make_plan(MappingSpec(), oip(inputs=(tensor("a", "INT8", ()),)), signature())
    with pytest.raises(SignatureMismatchError) as caught:
        sent(plan, table)
    assert message in caught.value.message


def test_columns_are_packed_renamed_and_filled() -> None:
    """Scalars of several types become one tensor; missing values get their default; others get another name."""
    mapping = parse_mapping(
        {
            "inputs": {"x": {"pack": ["a", "b", "c"], "datatype": "FP32"}, "reason": {"column": "purpose"}},
            "missing": {"a": -1, "purpose": "none"},
        }
    )
    plan = make_plan(mapping, oip(), signature())
    table = {"a": [1, None], "b": [0.5, 0.25], "c": [True, False], "purpose": [None, "car"], "unused": [1, 2]}
    assert sent(plan, table) == {"x": [[1.0, 0.5, 1.0], [-1.0, 0.25, 0.0]], "reason": ["none", "car"]}
    assert plan.to_far(encode_frame(table)).columns[0].type == type_number("FP32")


def test_text_is_packed() -> None:
    """Columns of text become one tensor of text."""
    plan = make_plan(MappingSpec(inputs=parse_inputs("x=[a,b]")), oip(), signature())
    assert sent(plan, {"a": ["p", "q"], "b": ["r", ""]}) == {"x": [["p", "r"], ["q", ""]]}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [1], "b": ["x"]}, "text and numbers cannot be packed"),
        ({"a": [[1, 2]], "b": [1]}, "only scalars can be packed"),
        ({"a": [1], "b": [None]}, "cannot be given missing values"),
    ],
)
def test_what_cannot_be_packed_is_refused(table: dict[str, Any], message: str) -> None:
    """Packing takes scalars of one kind, without missing values that have no default."""
    plan = make_plan(MappingSpec(inputs=parse_inputs("x=[a,b]")), oip(), signature())
    frame = encode_frame(table, types={"b": "FP64"} if table["b"] == [None] else None)
    with pytest.raises(SignatureMismatchError) as caught:
        plan.to_far(frame)
    assert message in caught.value.message


def test_missing_values_reach_a_model_that_takes_them() -> None:
    """A server of Score that allows missing values is sent them, converted or not; one that does not is spared."""
    for kind in ("INT64", "FP32"):
        taking = bare(inputs=(tensor("a", kind, (), allow_missing=True),))
        plan = make_plan(MappingSpec(), taking, signature())
        assert sent(plan, {"a": [1, None]}) == {"a": [1, None]}
    strict = make_plan(MappingSpec(), bare(inputs=(tensor("a", "INT64", ()),)), signature())
    with pytest.raises(SignatureMismatchError, match="missing in row 1"):
        sent(strict, {"a": [1, None]})


def test_answers_are_picked_unpacked_and_converted() -> None:
    """Elements of a tensor become columns in the endpoint's types; a lone element becomes a scalar; bytes text."""
    specs = signature(
        outputs=(column("low", "FP64"), column("high", "FP64"), column("label", "STRING"), column("n", "INT32"))
    )
    mapping = MappingSpec(outputs=parse_outputs("[low,high]=p,label=t"))
    plan = make_plan(mapping, oip(), specs)
    table = {"p": np.array([[0.25, 0.75]], "f4"), "t": [[b"bad"]], "n": np.array([[3]])}
    assert answered(plan, table) == {"low": [0.25], "high": [0.75], "label": ["bad"], "n": [3]}
    assert list(plan.wanted) == ["p", "t", "n"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"q": [1.0]}, "'p' is absent"),
        ({"p": [[1.0]]}, "has no element 1"),
        ({"p": [[1.0, 2.5]]}, "does not fit type INT64"),
        ({"p": [["a", "b"]]}, "STRING cannot become INT64"),
    ],
)
def test_answers_that_do_not_fit_are_the_models_fault(table: dict[str, Any], message: str) -> None:
    """An answer that cannot become the endpoint's column is INVALID_OUTPUT, naming tensor and column."""
    plan = make_plan(MappingSpec(outputs=parse_outputs("y:INT64=p[1]")), oip(), signature())
    with pytest.raises(InvalidOutputError) as caught:
        answered(plan, table)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("mapping", "far", "specs", "message"),
    [
        ({"inputs": {"y": {"column": "a"}}}, oip(inputs=(tensor("x"),)), signature(), "takes no 'y'"),
        (
            {"inputs": {"x": {"pack": ["a", "bb"]}}},
            oip(),
            signature(inputs=(column("a", "FP64"), column("b", "FP64"))),
            "column 'bb', which the endpoint does not have; did you mean 'b'?",
        ),
        (
            {},
            oip(inputs=(tensor("x", "FP32", (2,)),)),
            signature(inputs=(column("a", "FP64"), column("t", "STRING"), column("b", "INT8"))),
            "--inputs 'x=[a,b]'",
        ),
        (
            {"inputs": {"x": {"pack": ["a", "b", "c"]}}},
            oip(inputs=(tensor("x", "FP32", (2,)),)),
            signature(),
            "3 columns are packed, the model declares FP32[2] a row",
        ),
        (
            {"inputs": {"x": {"datatype": "FP64"}}},
            oip(inputs=(tensor("x", "FP32", (2,)),)),
            signature(),
            "datatype FP64 is asked for, the model declares FP32[2]",
        ),
        (
            {},
            oip(inputs=(tensor("a", "FP32", (3,)),)),
            signature(inputs=(column("a", "FP64", (2,)),)),
            "its shape does not fit",
        ),
        ({}, oip(inputs=(tensor("a", "FP32", ()),)), signature(inputs=(column("a", "STRING"),)), "STRING[]"),
        (
            {"missing": {"aa": 1}},
            oip(inputs=(tensor("a", "FP32", ()),)),
            signature(inputs=(column("a", "FP64"),)),
            "missing.aa: the model is given no such column; did you mean 'a'?",
        ),
        (
            {"missing": {"a": "none"}},
            oip(inputs=(tensor("a", "FP32", ()),)),
            signature(inputs=(column("a", "FP64"),)),
            "missing.a: 'none' cannot stand for missing values of type FP64",
        ),
        (
            {"outputs": {"rsk": {"tensor": "p"}}},
            oip(),
            signature(outputs=(column("risk", "FP64"),)),
            "outputs.rsk: the endpoint has no such column; did you mean 'risk'?",
        ),
        (
            {},
            oip(outputs=(tensor("p", "FP64", ()),)),
            signature(outputs=(column("risk", "FP64"),)),
            "--outputs 'risk=p'",
        ),
        (
            {"outputs": {"risk": {"tensor": "p"}}},
            oip(outputs=(tensor("p", "FP64", (2,)),)),
            signature(outputs=(column("risk", "FP64"),)),
            "--outputs 'risk=p[0]'",
        ),
        (
            {"outputs": {"risk": {"tensor": "p", "index": 2}}},
            oip(outputs=(tensor("p", "FP64", (2,)),)),
            signature(outputs=(column("risk", "FP64"),)),
            "it has no 2",
        ),
        (
            {"outputs": {"risk": {"tensor": "p", "type": "FP32"}}},
            oip(),
            signature(outputs=(column("risk", "FP64"),)),
            "type FP32 is asked for, the endpoint declares FP64[]",
        ),
        (
            {},
            oip(outputs=(tensor("risk", "BYTES", ()),)),
            signature(outputs=(column("risk", "FP64"),)),
            "the model gives 'risk' as BYTES[]",
        ),
    ],
)
def test_what_cannot_fit_is_known_at_start(
    mapping: dict[str, Any], far: FarInfo, specs: v1.Signature, message: str
) -> None:
    """What endpoint, mapping and model declare is compared before serving; the message says what would do."""
    with pytest.raises(BridgeError) as caught:
        make_plan(parse_mapping(mapping), far, specs)
    assert message in str(caught.value)


def test_dimensions_of_any_size_fit() -> None:
    """A dimension that the model leaves open takes what comes, and is decided by each request."""
    far = oip(inputs=(tensor("a", "FP64", (-1,)),), outputs=(tensor("p", "FP64", (-1,)),))
    specs = signature(inputs=(column("a", "FP64", (3,)),), outputs=(column("p", "FP64"),))
    plan = make_plan(MappingSpec(), far, specs)
    assert sent(plan, {"a": [[1.0, 2.0, 3.0]]}) == {"a": [[1.0, 2.0, 3.0]]}
    assert answered(plan, {"p": [[1.0]]}) == {"p": [1.0]}
