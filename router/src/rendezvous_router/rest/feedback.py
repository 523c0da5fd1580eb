"""`POST /v1/endpoints/{endpoint}/feedback` and `POST /v1/feedback`: outcomes in, their ids out."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from rendezvous_proto.errors import InvalidRequestError, RendezvousError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rendezvous_router.aside import do_aside
from rendezvous_router.feedback.recorder import Recorder
from rendezvous_router.options import RouterOptions
from rendezvous_router.reception import FEEDBACK, Reception
from rendezvous_router.rest.asking import read_headers, remaining_s
from rendezvous_router.rest.bodies import read_body
from rendezvous_router.rest.media import CSV, JSON, media_of_body
from rendezvous_router.rest.outcomes import read_outcomes
from rendezvous_router.rest.problems import HttpFaultError

__all__ = ["feedback_routes"]


def feedback_routes(reception: Reception, options: RouterOptions) -> list[Route]:
    """Returns the routes by which outcomes come.

    Args:
        reception: says whose router takes them.
        options: what to take.
    """

    async def record(request: Request) -> Response:
        started = time.monotonic()
        headers = read_headers(request.scope["headers"])
        recorder = reception.admit(headers.get("authorization")).demand(FEEDBACK).recorder
        with _noting(recorder):
            body = await _body(request, headers, options)
        with recorder.place(len(body)):
            with _noting(recorder):
                told, sent = await do_aside(len(body), read_outcomes, body, _media(headers))
                endpoint = _agreed(request.path_params.get("endpoint", ""), told)
                remaining = remaining_s(headers, time.monotonic() - started)
            reply = await recorder.record(endpoint, sent, size_bytes=len(body), remaining_s=remaining)
        document = {"endpoint": reply.endpoint, "feedback_ids": list(reply.feedback_ids)}
        return Response(msgspec.json.encode(document), media_type=JSON)

    return [Route(path, record, methods=["POST"]) for path in ("/v1/feedback", "/v1/endpoints/{endpoint}/feedback")]


@contextmanager
def _noting(recorder: Recorder) -> Iterator[None]:
    """Notes a call that did not get as far as its outcomes."""
    try:
        yield
    except (RendezvousError, HttpFaultError) as fault:
        recorder.note_unread(fault.error if isinstance(fault, HttpFaultError) else fault)
        raise


async def _body(request: Request, headers: dict[str, str], options: RouterOptions) -> bytes:
    _media(headers)  # asked before the body is read
    if request.scope["query_string"]:
        raise InvalidRequestError("query: feedback has none: say it in the body")
    return await read_body(request.receive, request.scope["headers"], options.max_message_bytes)


def _media(headers: dict[str, str]) -> str:
    media = media_of_body(headers.get("content-type"))
    if media not in (JSON, CSV):
        raise HttpFaultError(
            415,
            InvalidRequestError(f"Content-Type {media} is not taken for feedback: use {JSON} or {CSV}"),
            [("accept", f"{JSON}, {CSV}")],
        )
    return media


def _agreed(named: str, told: str) -> str:
    if named and told and named != told:
        raise InvalidRequestError(
            f"endpoint: the path says {named[:80]!r}, the body {told[:80]!r}: say it once", {"endpoint": named[:80]}
        )
    return named or told
