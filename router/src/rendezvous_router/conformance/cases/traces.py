"""Trace context, through both doors."""

import secrets

from rendezvous_proto import v1
from rendezvous_proto.vectors import load_vectors
from rendezvous_sdk.traces import is_traceparent

from rendezvous_router.conformance.case import Need, expect, expect_equal, group
from rendezvous_router.conformance.cases._checks import check_items
from rendezvous_router.conformance.site import Site

case = group("Trace context")


def _traceparent() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def _check_answered(sent: str, answered: str) -> str:
    """Expects the request's own context, or a span of its trace; tells which."""
    expect(is_traceparent(answered), f"answered is the traceparent {answered!r}; sent was {sent!r}")
    expect_equal("the trace id", answered.split("-")[1], sent.split("-")[1])
    return "its own context" if answered == sent else "a span"


def _malformed() -> list[str]:
    return [vector["traceparent"] for vector in load_vectors("traces") if not vector["well_formed"]]


@case("grpc.trace", "the trace context of the call's metadata is answered", rules="P75 P76")
async def trace(site: Site) -> str:
    """With and without `tracestate`."""
    sent = _traceparent()
    metadata = [("traceparent", sent), ("tracestate", "rv=1")]
    reply = await site.caller.score(site.inputs.table(1), metadata=metadata)
    await site.caller.score(site.inputs.table(1), metadata=metadata[:1])
    return _check_answered(sent, reply.traceparent)


@case(
    "grpc.trace-none", "without a trace context, or with a malformed one, none is answered, and rows are", rules="P76"
)
async def trace_none(site: Site) -> None:
    """Those of the vectors that metadata can carry."""
    reply = await site.caller.score(site.inputs.table(1))
    expect_equal("the traceparent answered without one", reply.traceparent, "")
    for text in _malformed():
        if text and text == text.strip():
            reply = await site.caller.score(site.inputs.table(1), metadata=[("traceparent", text)])
            expect_equal(f"the traceparent answered to {text!r}", reply.traceparent, "")


@case("grpc.trace-stream", "each request of a stream is answered with its own trace context", rules="P75 P76")
async def trace_stream(site: Site) -> None:
    """Three traced, one not, one malformed."""
    sent = {"t-0": _traceparent(), "t-1": _traceparent(), "t-2": _traceparent(), "t-3": "", "t-4": "no-trace"}
    requests = [
        v1.ScoreRequest(request_id=request_id, inputs=site.inputs.table(1), traceparent=text)
        for request_id, text in sent.items()
    ]
    replies = {reply.request_id: reply.traceparent for reply in await site.caller.stream(requests)}
    for request_id in ("t-0", "t-1", "t-2"):
        _check_answered(sent[request_id], replies[request_id])
    expect_equal("those answered without a well-formed one", (replies["t-3"], replies["t-4"]), ("", ""))


@case(
    "postbox.trace",
    "each request of a parcel is answered with its own trace context, failed ones too",
    rules="P75 P76",
    needs=[Need.PUBLISH],
)
async def postbox_trace(site: Site) -> str:
    """A scored one, an untraced one, an expired one, and every malformed one."""
    sent = [_traceparent(), "", _traceparent(), *_malformed()]
    tables = [site.inputs.table(1, first=number) for number in range(len(sent))]
    budgets = [60.0, 60.0, -2.0, *[60.0] * (len(sent) - 3)]
    parcel = site.postman.parcel(*tables, budgets_s=budgets, traces=sent)
    await site.postman.send(parcel)
    score = await site.postman.score_of(parcel)
    check_items(score, parcel, "", "", "EXPIRED", *[""] * (len(sent) - 3))
    answered = [item.traceparent for item in score.items]
    _check_answered(sent[2], answered[2])
    expect_equal("those answered without a well-formed one", [answered[1], *answered[3:]], [""] * (len(sent) - 2))
    return _check_answered(sent[0], answered[0])
