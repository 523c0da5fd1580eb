"""`ScoreStream`: many requests over one call."""

from rendezvous_proto import v1

from rendezvous_router.conformance.caller import code_name
from rendezvous_router.conformance.case import expect, expect_equal, group
from rendezvous_router.conformance.cases._checks import check_echo, check_made_id, check_outputs
from rendezvous_router.conformance.frames import make_column
from rendezvous_router.conformance.site import Site

case = group("Streams over gRPC")

_REQUESTS = 200


def _requests(site: Site, count: int) -> list[v1.ScoreRequest]:
    tables = [site.inputs.table(1 + number % 4, first=number) for number in range(count)]
    return [v1.ScoreRequest(request_id=f"s-{number}", inputs=table) for number, table in enumerate(tables)]


@case("grpc.stream", "every request of a stream is answered once, with its own rows", rules="P102")
async def stream(site: Site) -> None:
    """Two hundred requests; the order of the answers is free."""
    requests = _requests(site, _REQUESTS)
    replies = await site.caller.stream(requests)
    answered = sorted(reply.request_id for reply in replies)
    expect_equal("the answered requests", answered, sorted(request.request_id for request in requests))
    by_id = {reply.request_id: reply for reply in replies}
    for request in requests:
        reply = by_id[request.request_id]
        expect(not reply.HasField("error"), f"{request.request_id} failed: {reply.error.message}")
        check_outputs(site, reply.outputs, request.inputs.rows)
        if site.is_probe:
            check_echo(request.inputs, reply.outputs)


@case(
    "grpc.stream-failure",
    "a request that fails in a stream is answered with its error, and the stream goes on",
    rules="P82 P102",
)
async def stream_failure(site: Site) -> None:
    """Every fifth request has a frame that contradicts itself."""
    requests = _requests(site, 20)
    bad = {request.request_id for request in requests[::5]}
    torn = make_column(v1.ColumnSpec(name="torn", type=v1.DataType.DATA_TYPE_FP64), [1.0])
    torn.values = torn.values[:-1]
    for request in requests[::5]:
        request.inputs.CopyFrom(v1.Frame(rows=1, columns=[torn]))
    replies = {reply.request_id: reply for reply in await site.caller.stream(requests)}
    expect_equal("the number of answered requests", len(replies), len(requests))
    for request_id, reply in replies.items():
        code = code_name(reply.error) if reply.HasField("error") else ""
        expect_equal(f"the error of {request_id}", code, "INVALID_FRAME" if request_id in bad else "")


@case("grpc.stream-bad-id", "a malformed request id in a stream fails alone; a missing one is made", rules="P1 P3 P82")
async def stream_bad_id(site: Site) -> None:
    """An id with a dot, none, and a good one."""
    requests = _requests(site, 3)
    requests[0].request_id, requests[1].request_id = "not.an.id", ""
    replies = await site.caller.stream(requests)
    expect_equal("the number of answers", len(replies), 3)
    failed = [reply for reply in replies if reply.HasField("error")]
    expect_equal("the errors", [code_name(reply.error) for reply in failed], ["INVALID_REQUEST"])
    made = [reply.request_id for reply in replies if not reply.HasField("error") and reply.request_id != "s-2"]
    expect_equal("the number of ids that were made", len(made), 1)
    check_made_id(made[0])


@case("grpc.stream-empty", "a stream without requests ends without answers", rules="P102")
async def stream_empty(site: Site) -> None:
    """The client closes at once."""
    expect_equal("the answers", await site.caller.stream([]), [])
