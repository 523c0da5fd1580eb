"""The REST door's routes, and its last word on every request: an answer or a problem.

Plain ASGI on Starlette's router, without middleware: each layer would cost every request.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec
from rendezvous_proto.errors import InvalidRequestError, RendezvousError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route, Router

from rendezvous_router.oip.rest import oip_routes
from rendezvous_router.options import RouterOptions
from rendezvous_router.reception import Reception
from rendezvous_router.rest.bodies import ClientGoneError
from rendezvous_router.rest.describing import describing_routes, page_routes
from rendezvous_router.rest.feedback import feedback_routes
from rendezvous_router.rest.problems import HttpFaultError, problem_response
from rendezvous_router.rest.score import ScoreRoute

__all__ = ["RestApp"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_INFERENCE = "/v2"


class RestApp:
    """An ASGI application that serves routers.

    Args:
        reception: says whose router answers.
        options: what to take.
        page: routes for scrapes and probes.
    """

    def __init__(self, reception: Reception, options: RouterOptions, page: Sequence[Route]) -> None:
        routes = [
            Route("/v1/endpoints/{endpoint}/score", ScoreRoute(reception, options), methods=["POST"]),
            *feedback_routes(reception, options),
            *oip_routes(reception, options),
            *describing_routes(reception),
            *page_routes(reception, page),
        ]
        self._router = Router(routes, redirect_slashes=False, default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        scope["app"] = self  # so that a wrong method is raised rather than answered in Starlette's words
        try:
            await self._router(scope, receive, send)
        except ClientGoneError:
            return
        except Exception as fault:  # noqa: BLE001 # whatever it is, the client gets an answer, and the log the rest
            await _answer_of(scope, fault)(scope, receive, send)


def _answer_of(scope: Scope, fault: Exception) -> Response:
    if isinstance(fault, HTTPException):
        fault = _http_fault(scope, fault)
    response = problem_response(fault)
    if scope["path"].startswith(_INFERENCE):  # that protocol has errors of its own
        detail = msgspec.json.decode(response.body)["detail"]
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return Response(msgspec.json.encode({"error": detail}), response.status_code, headers, "application/json")
    return response


def _http_fault(scope: Scope, fault: HTTPException) -> HttpFaultError:
    allow = (fault.headers or {}).get("Allow", "")
    shown = scope["path"][:80]
    what = f"{scope['method']} {shown!r}: use {allow}" if fault.status_code == 405 else fault.detail
    return HttpFaultError(fault.status_code, InvalidRequestError(what), [("allow", allow)] if allow else [])


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 # of ASGI
    error: RendezvousError = InvalidRequestError(
        f"there is nothing at {scope['path'][:80]!r}: /openapi.json names what there is, /docs shows it"
    )
    raise HttpFaultError(404, error)
