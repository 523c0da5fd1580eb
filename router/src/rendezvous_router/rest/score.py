"""`POST /v1/endpoints/{endpoint}/score`: a table in, a table out, by the same mailbox path as gRPC."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from msgspec import UNSET
from rendezvous_proto import v1
from rendezvous_proto.errors import InternalError, InvalidRequestError, RendezvousError
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.postbox import check_name

from rendezvous_router.app import Router
from rendezvous_router.aside import do_aside
from rendezvous_router.endpoint import Endpoint
from rendezvous_router.options import RouterOptions
from rendezvous_router.reception import SCORE, Reception
from rendezvous_router.rest.arrow_body import read_arrow
from rendezvous_router.rest.asking import Asked, read_headers, read_query, remaining_s
from rendezvous_router.rest.bodies import ClientGoneError, read_body
from rendezvous_router.rest.columns import ColumnCodec, encode_columns
from rendezvous_router.rest.csv_body import read_csv
from rendezvous_router.rest.json_body import read_json
from rendezvous_router.rest.media import CSV, JSON, MEDIA, choose_answer, media_of_body
from rendezvous_router.rest.problems import HttpFaultError, problem_response
from rendezvous_router.rest.replies import answer_body, answer_headers

__all__ = ["METHOD", "ScoreRoute"]

METHOD = "POST /v1/endpoints/{endpoint}/score"
"""The method through which requests come, as metrics and spans name it."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Codecs = dict[str, ColumnCodec]


class ScoreRoute:
    """An ASGI application for one route.

    Args:
        reception: says whose router answers.
        options: what to take.
    """

    def __init__(self, reception: Reception, options: RouterOptions) -> None:
        self._reception = reception
        self._options = options
        self._codecs: dict[tuple[str, str], tuple[Endpoint, Codecs]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        asking = _Asking(self, scope)
        try:
            start, body = await asking.answer(receive)
        except ClientGoneError:
            return
        except Exception as fault:  # noqa: BLE001 # whatever it is, the client gets an answer, and the log the rest
            await problem_response(fault, asking.request_id)(scope, receive, send)
            return
        await send(start)
        await send({"type": "http.response.body", "body": body})

    def codecs_of(self, tenant: str, endpoint: Endpoint) -> Codecs:
        """Returns the codecs of an endpoint's input columns, made once for each revision."""
        key = tenant, endpoint.name
        known = self._codecs.get(key)
        if known is None or known[0] is not endpoint:
            codecs = {spec.name: ColumnCodec(spec) for spec in endpoint.info.signature.inputs}
            known = self._codecs[key] = endpoint, codecs
        return known[1]


class _Asking:
    """One request."""

    def __init__(self, route: ScoreRoute, scope: Scope) -> None:
        self.request_id = ""
        self._route = route
        self._scope = scope
        self._started = time.monotonic()
        self._headers = read_headers(scope["headers"])

    async def answer(self, receive: Receive) -> tuple[dict[str, Any], bytes]:
        """Returns the answer's start and body."""
        caller = self._route._reception.admit(self._headers.get("authorization"))  # noqa: SLF001 # a part of the route
        router = caller.demand(SCORE)
        traceparent, tracestate = self._headers.get("traceparent", ""), self._headers.get("tracestate", "")
        try:
            desk = router.desks.get(self._scope["path_params"]["endpoint"])
            if desk is None:
                router.describe(self._scope["path_params"]["endpoint"])  # raises, and names a similar one
                raise InternalError("a fault of the router: an endpoint is there and is not")
            request, media, as_columns = await self._read(receive, caller.tenant, desk.endpoint)
            remaining = remaining_s(self._headers, time.monotonic() - self._started)
        except (RendezvousError, HttpFaultError) as fault:
            error = fault.error if isinstance(fault, HttpFaultError) else fault
            router.refuse_unread(error, method=METHOD, traceparent=traceparent, tracestate=tracestate)
            raise
        reply = await self._submit(router, request, remaining, traceparent, tracestate)
        self.request_id = reply.request_id
        return await _written(reply, media, as_columns)

    async def _submit(
        self, router: Router, request: v1.ScoreRequest, remaining: float | None, traceparent: str, tracestate: str
    ) -> v1.ScoreReply:
        answer = router.submit(
            request,
            size_bytes=request.ByteSize(),
            remaining_s=remaining,
            traceparent=traceparent,
            tracestate=tracestate,
            method=METHOD,
        )
        return await asyncio.shield(answer)

    async def _read(self, receive: Receive, tenant: str, endpoint: Endpoint) -> tuple[v1.ScoreRequest, str, bool]:
        """Returns the request, the media type of its answer, and whether JSON is to be columns."""
        scope, headers = self._scope, self._headers
        request_id = headers.get("x-request-id", "")
        if request_id:
            check_name("request id", request_id)
            self.request_id = request_id
        media = media_of_body(headers.get("content-type"))
        asked = read_query(scope["query_string"]) if scope["query_string"] else Asked()
        answer = choose_answer(headers.get("accept"), _offers(media))
        if asked.explain and answer != JSON:
            raise HttpFaultError(
                406, InvalidRequestError(f"explain is answered as {JSON}: send Accept: {JSON}", {"known": JSON})
            )
        body = await read_body(receive, scope["headers"], self._route._options.max_message_bytes)  # noqa: SLF001
        codecs = self._route.codecs_of(tenant, endpoint)
        arguments = body, media, endpoint, codecs, request_id
        request, as_columns = await do_aside(len(body), _request_of, *arguments)
        self.request_id = request.request_id
        asked.apply(request)
        return request, answer, as_columns


def _request_of(
    body: bytes, media: str, endpoint: Endpoint, codecs: Codecs, request_id: str
) -> tuple[v1.ScoreRequest, bool]:
    """Returns the request of a body, and whether it gives columns."""
    request = v1.ScoreRequest(request_id=request_id, endpoint=endpoint.name)
    limits = endpoint.spec.limits
    if media == JSON:
        read = read_json(body)
        columns, rows = read.table(limits.max_rows, codecs)
        request.inputs.CopyFrom(encode_columns(columns, rows, codecs))
        if read.context is not UNSET:
            request.context.update(read.context)
        if read.request_id is not UNSET:
            _set_id(request, str(read.request_id))
        return request, read.columns is not UNSET
    if media == CSV:
        columns, rows = read_csv(body, list(endpoint.info.signature.inputs), limits.max_rows)
        request.inputs.CopyFrom(encode_columns(columns, rows, codecs))
        return request, False
    table = read_arrow(body, max_rows=limits.max_rows, max_bytes=max(limits.max_bytes, len(body)))
    types = {name: codecs[name].kind for name in table.column_names if name in codecs}
    request.inputs.CopyFrom(encode_frame(table, types=types))
    return request, False


def _set_id(request: v1.ScoreRequest, request_id: str) -> None:
    if request.request_id and request.request_id != request_id:
        raise InvalidRequestError(
            "the request's id is given in X-Request-Id and, otherwise, in the body: give it once",
            {"header": request.request_id},
        )
    check_name("request id", request_id)
    request.request_id = request_id


def _offers(media: str) -> tuple[str, ...]:
    return (media, *(offer for offer in MEDIA if offer != media))


async def _written(reply: v1.ScoreReply, media: str, as_columns: bool) -> tuple[dict[str, Any], bytes]:
    body = await do_aside(reply.ByteSize(), answer_body, reply, media, as_columns=as_columns)
    headers = answer_headers(reply, media, len(body))
    return {"type": "http.response.start", "status": 200, "headers": headers}, body
