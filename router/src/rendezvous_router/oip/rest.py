"""The protocol over REST: routes for the REST door. Errors are raised; the door answers them as `{"error": "..."}`."""

from typing import Any
from urllib.parse import unquote

import msgspec
from rendezvous_proto.errors import InvalidRequestError, RendezvousError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rendezvous_router.app import Router
from rendezvous_router.aside import do_aside
from rendezvous_router.oip.about import EXTENSIONS, NAME, about_model
from rendezvous_router.oip.asking import Ask, Trace, ask
from rendezvous_router.oip.documents import (
    HEADER_LENGTH,
    InferBody,
    read_document,
    tensors_of,
    wanted_of,
    write_answer,
)
from rendezvous_router.oip.inputs import Tensor
from rendezvous_router.oip.live import LiveModels, is_serving
from rendezvous_router.oip.target import find_target
from rendezvous_router.options import RouterOptions
from rendezvous_router.reception import SCORE, Reception
from rendezvous_router.rest.bodies import read_body
from rendezvous_router.rest.problems import HttpFaultError
from rendezvous_router.version import VERSION

__all__ = ["METHOD", "oip_routes"]

METHOD = "POST /v2/models/{model}/infer"
"""Through which requests come, for telemetry."""
_MODELS = "/v2/models/"


def oip_routes(reception: Reception, options: RouterOptions) -> list[Route]:
    """Returns the routes of the protocol, all below `/v2`.

    Args:
        reception: says whose router answers.
        options: how large a body may be.
    """
    routes = _Routes(reception, options.max_message_bytes)
    return [
        Route("/v2", routes.server),
        Route("/v2/health/live", routes.live),
        Route("/v2/health/ready", routes.ready),
        Route(_MODELS + "{path:path}", routes.model, methods=["GET", "POST"]),
    ]


class _Routes:
    def __init__(self, reception: Reception, max_bytes: int) -> None:
        self._reception = reception
        self._max_bytes = max_bytes
        self._models = LiveModels()

    async def server(self, request: Request) -> Response:
        self._router(request)
        return _json({"name": NAME, "version": VERSION, "extensions": EXTENSIONS})

    async def live(self, _request: Request) -> Response:
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        is_ready = is_serving(self._router(request))
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    async def model(self, request: Request) -> Response:
        name, version, action = _parts(request)
        if request.method == "POST":
            if action != "infer":
                raise _wrong_method(request, "GET, HEAD")
            return await self._infer(request, name, version)
        if action == "infer":
            raise _wrong_method(request, "POST")
        router = self._router(request)
        if action == "ready":
            target = find_target(router, name, version)
            is_ready = await self._models.is_ready(router, target, version)
            return _json({"name": name, "ready": is_ready}, 200 if is_ready else 503)
        return _json(await about_model(router, self._models, name, version))

    async def _infer(self, request: Request, name: str, version: str) -> Response:
        router = self._router(request)
        headers = request.headers
        trace = Trace(traceparent=headers.get("traceparent", ""), tracestate=headers.get("tracestate", ""))
        try:
            body = await read_body(request.receive, request.scope["headers"], self._max_bytes)
            document, tensors = await do_aside(len(body), _read, body, headers.get(HEADER_LENGTH))
        except RendezvousError as error:
            router.refuse_unread(error, method=METHOD, traceparent=trace.traceparent, tracestate=trace.tracestate)
            raise
        answer = await ask(
            router,
            Ask(
                name=name,
                version=version,
                id=document.id or "",
                parameters=document.parameters or {},
                tensors=tensors,
                wanted=wanted_of(document),
                size_bytes=len(body),
                method=METHOD,
                trace=trace,
            ),
        )
        content, header_length = await do_aside(answer.size_bytes, write_answer, name, document, answer)
        if header_length is None:
            return Response(content, media_type="application/json")
        return Response(content, media_type="application/octet-stream", headers={HEADER_LENGTH: str(header_length)})

    def _router(self, request: Request) -> Router:
        return self._reception.admit(request.headers.get("authorization")).demand(SCORE)


def _read(body: bytes, header_length: str | None) -> tuple[InferBody, list[Tensor]]:
    document, binary = read_document(body, header_length)
    tensors = tensors_of(document, binary)
    _ = document.binary  # refused before anything is scored
    return document, tensors


def _parts(request: Request) -> tuple[str, str, str]:
    """Returns name, version and action (`infer`, `ready` or none) of a path below `/v2/models/`.

    A single model's name may have its slash as it is or encoded. Encoded it is never taken for what follows a name.
    """
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    parts = raw.partition(b"?")[0].decode("latin-1").removeprefix(_MODELS).split("/")
    action = parts.pop() if len(parts) > 1 and parts[-1] in ("infer", "ready") else ""
    version = ""
    if len(parts) > 2 and parts[-2] == "versions":
        version = unquote(parts.pop())
        parts.pop()
    return "/".join(unquote(part) for part in parts), version, action


def _wrong_method(request: Request, allow: str) -> HttpFaultError:
    what = f"{request.method} {request.url.path[:80]!r}: use {allow}"
    return HttpFaultError(405, InvalidRequestError(what), [("allow", allow)])


def _json(document: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status, media_type="application/json")
