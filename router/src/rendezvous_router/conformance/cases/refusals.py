"""What must be refused over gRPC, and how."""

from typing import Any

import grpc
from rendezvous_proto import v1
from rendezvous_proto.vectors import load_vectors

from rendezvous_router.conformance.caller import Refusal, refusal_of
from rendezvous_router.conformance.case import Failed, Need, NotApplicable, expect, expect_equal, group
from rendezvous_router.conformance.cases._checks import check_message, check_outputs
from rendezvous_router.conformance.frames import make_column, type_name
from rendezvous_router.conformance.site import Site

case = group("Refusals over gRPC")

_TOO_LARGE_BYTES = 5 * 1024 * 1024
_MAX_ROWS = 1_000_000
"""Rows of one table that a model takes unless configured otherwise."""


async def _still_scores(site: Site) -> None:
    check_outputs(site, (await site.caller.score(site.inputs.table(1))).outputs, 1)


@case("grpc.bad-request-id", "a malformed request id is refused: INVALID_REQUEST", rules="P1 P82")
async def bad_request_id(site: Site) -> None:
    """The names of the vectors that are none."""
    for vector in load_vectors("names"):
        if vector["kind"] == "name" and not vector["valid"] and vector["value"]:
            refusal = await site.caller.refused(site.inputs.table(1), request_id=vector["value"])
            refusal.expect("INVALID_ARGUMENT", "INVALID_REQUEST")
    await _still_scores(site)


@case("grpc.unknown-endpoint", "an endpoint that is not served here is NOT_FOUND", rules="P82")
async def unknown_endpoint(site: Site) -> None:
    """By Score and by Describe."""
    refusal = await site.caller.refused(site.inputs.table(1), endpoint="no-such-endpoint")
    check_message(refusal.expect("NOT_FOUND", "UNKNOWN_ENDPOINT"), "no-such-endpoint")
    try:
        await site.caller.stub.Describe(v1.DescribeRequest(endpoint="no-such-endpoint"), timeout=5.0)
    except grpc.aio.AioRpcError as error:
        refusal_of(error).expect("NOT_FOUND", "UNKNOWN_ENDPOINT")
    else:
        raise Failed("Describe answers for an endpoint that is not served here")


@case("grpc.unknown-model", "another model forced by the diagnostics is NOT_FOUND", rules="P82")
async def unknown_model(site: Site) -> None:
    """The model itself may be forced."""
    forced = v1.Diagnostics(force_model="no-such-model")
    refusal = await site.caller.refused(site.inputs.table(1), diagnostics=forced)
    check_message(refusal.expect("NOT_FOUND", "UNKNOWN_MODEL"), "no-such-model")
    await site.caller.score(site.inputs.table(1), diagnostics=v1.Diagnostics(force_model=site.info.name))


@case(
    "grpc.bad-frames",
    "a frame that contradicts itself is INVALID_FRAME and names the column",
    rules="P40 P41 P42 P43 P44 P47 P50",
)
async def bad_frames(site: Site) -> str:
    """Every malformed frame of the vectors."""
    vectors = [vector for vector in load_vectors("frames") if vector["kind"] == "invalid"]
    for vector in vectors:
        frame = v1.Frame.FromString(bytes.fromhex(vector["wire"]))
        if not frame.rows:
            continue  # refused for that
        try:
            refusal = await site.caller.refused(frame)
            if frame.rows > _MAX_ROWS and refusal.code == "TOO_LARGE":
                refusal.expect("INVALID_ARGUMENT", "TOO_LARGE")
                continue  # rows may be counted before columns are looked at
            error = refusal.expect("INVALID_ARGUMENT", "INVALID_FRAME")
            check_message(error, vector["column"])
            if vector["column"]:
                expect_equal("the attribute `column`", error.attributes.get("column", ""), vector["column"])
        except Failed as failed:
            raise Failed(f"{vector['name']}: {failed}") from failed
    await _still_scores(site)
    return f"{len(vectors)} frames"


@case(
    "grpc.bad-column", "a declared column with too few bytes, or a wrong bitmap, is INVALID_FRAME", rules="P42 P47 P50"
)
async def bad_column(site: Site) -> None:
    """Each column of the model's own in turn."""
    for index, name in enumerate(site.inputs.specs):
        short, spare = site.inputs.table(2), site.inputs.table(2)
        if (column := short.columns[index]).values:
            column.values = column.values[:-1]
        elif column.strings or column.blobs:
            del (column.strings or column.blobs)[-1]
        else:
            continue  # a shape of no elements has nothing to cut
        spare.columns[index].missing = b"\x04"
        for frame in (short, spare):
            refusal = await site.caller.refused(frame)
            check_message(refusal.expect("INVALID_ARGUMENT", "INVALID_FRAME"), name)


@case("grpc.no-rows", "a request without rows is refused, or answered without rows", rules="P40")
async def no_rows(site: Site) -> str:
    """Both are allowed."""
    empty = site.inputs.table(0)
    try:
        reply = await site.caller.stub.Score(v1.ScoreRequest(inputs=empty), timeout=5.0)
    except grpc.aio.AioRpcError as error:
        refusal_of(error).expect("INVALID_ARGUMENT", "INVALID_FRAME", "INVALID_REQUEST")
        return "refused"
    expect_equal("the number of output rows", reply.outputs.rows, 0)
    return "answered"


async def _mismatch(site: Site, frame: v1.Frame, column: str) -> None:
    refusal = await site.caller.refused(frame)
    check_message(refusal.expect("INVALID_ARGUMENT", "SIGNATURE_MISMATCH"), column)


@case(
    "grpc.signature-columns", "an absent, mistyped or misshapen column is SIGNATURE_MISMATCH and named", rules="P60 P61"
)
async def signature_columns(site: Site) -> None:
    """Each declared column in turn."""
    if not site.inputs.is_declared:
        raise NotApplicable("the model declares no inputs")
    for index, (name, spec) in enumerate(site.inputs.specs.items()):
        absent = site.inputs.table(2)
        del absent.columns[index]
        if len(absent.columns):
            await _mismatch(site, absent, name)
        is_text = type_name(spec.type) == "STRING"
        other = v1.DataType.DATA_TYPE_FP64 if is_text else v1.DataType.DATA_TYPE_STRING
        mistyped, misshapen = site.inputs.table(2), site.inputs.table(2)
        values = [[0.0, 0.0], [0.0, 0.0]] if is_text else [["", ""], ["", ""]]
        mistyped.columns[index].CopyFrom(make_column(v1.ColumnSpec(name=name, type=other, shape=[2]), values))
        await _mismatch(site, mistyped, name)
        shaped = v1.ColumnSpec(name=name, type=spec.type, shape=[*spec.shape, 1])
        misshapen.columns[index].CopyFrom(make_column(shaped, [None, None]))
        misshapen.columns[index].missing = b""
        await _mismatch(site, misshapen, name)


@case(
    "grpc.signature-values", "missing rows and NaN are SIGNATURE_MISMATCH where they are not allowed", rules="P60 P61"
)
async def signature_values(site: Site) -> str:
    """Every column that does not allow them."""
    tried = []
    for name, spec in site.inputs.specs.items():
        if not site.inputs.is_declared:
            break
        if not spec.allow_missing:
            table = site.inputs.table(2, columns={name: [None, None]})
            await _mismatch(site, table, name)
            tried.append(f"missing {name}")
        if type_name(spec.type).startswith("FP") and not spec.allow_nan and not spec.shape:
            for value in ("nan", "inf", "-inf"):
                await _mismatch(site, site.inputs.table(2, columns={name: [float(value), 0.0]}), name)
            tried.append(f"NaN {name}")
    if not tried:
        raise NotApplicable("the model allows missing rows and NaN in every column, or declares none")
    return ", ".join(tried[:6])


@case("grpc.bad-utf8", "text that is no UTF-8 is refused, and the server lives", rules="P45")
async def bad_utf8(site: Site) -> str:
    """Bytes that protobuf's parser refuses; sent past the client's own."""
    frame = v1.Frame(rows=1, columns=[v1.Column(name="s", type=v1.DataType.DATA_TYPE_STRING, strings=["ab"])])
    payload = v1.ScoreRequest(inputs=frame).SerializeToString().replace(b"ab", b"\xc3\x28")
    call: Any = site.caller.channel.unary_unary("/rendezvous.v1.Score/Score")
    try:
        await call(payload, timeout=5.0)
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        await _still_scores(site)
        return f"{refusal.status} {refusal.code}".strip()
    raise Failed("a string that is no UTF-8 was answered")


@case("grpc.too-large", "a message of 5 MiB is refused or answered, and the server lives", rules="P82")
async def too_large(site: Site) -> str:
    """Refused: RESOURCE_EXHAUSTED by gRPC, or TOO_LARGE."""
    table = site.inputs.table(1)
    table.columns.append(v1.Column(name="ballast", type=v1.DataType.DATA_TYPE_BYTES, blobs=[bytes(_TOO_LARGE_BYTES)]))
    outcome = "answered"
    try:
        await site.caller.stub.Score(v1.ScoreRequest(inputs=table), timeout=10.0)
    except grpc.aio.AioRpcError as error:
        refusal: Refusal = refusal_of(error)
        expect(
            refusal.status in {"RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"},
            f"the status is {refusal.status} ({refusal.details})",
        )
        outcome = f"{refusal.status} {refusal.code}".strip()
    await _still_scores(site)
    return outcome


@case(
    "grpc.deadline",
    "what the client no longer waits for does not hold up what comes after",
    rules="P70",
    needs=[Need.PROBE],
)
async def deadline(site: Site) -> None:
    """Five calls that have run out before their turn, then one that has time."""
    refusal = await site.caller.refused(site.inputs.command("sleep:300"), timeout_s=0.05)
    expect_equal("the status of a call that ran out", refusal.status, "DEADLINE_EXCEEDED")
    for _ in range(5):
        await site.caller.refused(site.inputs.command("sleep:1500"), timeout_s=0.02)
    await site.caller.score(site.inputs.command(""), timeout_s=5.0)
