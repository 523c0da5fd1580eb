"""What there is: endpoints as JSON, the OpenAPI document, and the page to try it, without anything from elsewhere."""

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError, UnauthenticatedError
from rendezvous_proto.frames import type_name
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rendezvous_router.endpoint import Endpoint
from rendezvous_router.reception import SCORE, Reception
from rendezvous_router.rest.media import JSON
from rendezvous_router.rest.openapi import openapi_of
from rendezvous_router.rest.problems import HttpFaultError

__all__ = ["describing_routes", "page_routes"]

_PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rendezvous</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<form id="key" style="font: 14px sans-serif; padding: 12px 20px; background: #eee">
<label>Key, where keys are asked for: <input name="key" type="password" autocomplete="off" size="72"
placeholder="rv_..."></label> <button>Show my endpoints</button>
</form>
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
_START = b"""let key = "";  // of this page's life only: never stored
const ui = SwaggerUIBundle({
  url: "openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null, tryItOutEnabled: true,
  requestInterceptor: (request) => {
    if (key && !request.headers.Authorization) request.headers.Authorization = "Bearer " + key;
    return request;
  },
});
document.getElementById("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key = event.target.elements.key.value.trim();
  ui.specActions.download();
});
"""
_GUARD = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
_encode = msgspec.json.Encoder().encode


def describing_routes(reception: Reception) -> list[Route]:
    """Returns the routes that say what there is."""

    def endpoints_of(request: Request) -> dict[str, Endpoint]:
        router = reception.admit(request.headers.get("authorization")).demand(SCORE)
        return {name: desk.endpoint for name, desk in sorted(router.desks.items())}

    async def list_all(request: Request) -> Response:
        return _json({"endpoints": [_described(endpoint) for endpoint in endpoints_of(request).values()]})

    async def describe(request: Request) -> Response:
        router = reception.admit(request.headers.get("authorization")).demand(SCORE)
        name = request.path_params["endpoint"]
        router.describe(name)  # raises where there is none, and names a similar one
        return _json(_described(router.desks[name].endpoint))

    async def openapi(request: Request) -> Response:
        try:
            endpoints = list(endpoints_of(request).values())
        except UnauthenticatedError:
            if "authorization" in request.headers:
                raise
            endpoints = []  # so that the page can be opened and ask for a key
        return _json(openapi_of(endpoints))

    return [
        Route("/v1/endpoints", list_all),
        Route("/v1/endpoints/{endpoint}", describe),
        Route("/openapi.json", openapi),
        Route("/docs", _show_page),
        Route("/docs/{asset}", _show_asset),
    ]


def page_routes(reception: Reception, page: Sequence[Route]) -> list[Route]:
    """Returns the routes for scrapes and probes; metrics, which tell of every tenant, only where there are no keys."""

    def guarded(show: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def show_metrics(request: Request) -> Response:
            try:
                reception.admit(None)
            except UnauthenticatedError as error:
                what = "where keys are asked for, /metrics is served at the metrics port only (--metrics-port)"
                raise HttpFaultError(404, InvalidRequestError(what)) from error
            return await show(request)

        return show_metrics

    return [Route(route.path, guarded(route.endpoint)) if route.path == "/metrics" else route for route in page]


def _described(endpoint: Endpoint) -> dict[str, Any]:
    limits = endpoint.spec.limits
    return {
        "endpoint": endpoint.name,
        "revision": endpoint.revision,
        "description": endpoint.spec.description,
        "inputs": [_column(spec) for spec in endpoint.info.signature.inputs],
        "outputs": [_column(spec) for spec in endpoint.info.signature.outputs],
        "models": {name: v1.Role.Name(role).removeprefix("ROLE_").lower() for name, role in endpoint.roles.items()},
        "deadline_ms": endpoint.policy.deadline_s * 1e3,
        "limits": {"max_rows": limits.max_rows, "max_bytes": limits.max_bytes},
    }


def _column(spec: v1.ColumnSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "type": type_name(spec.type),
        "shape": list(spec.shape),
        "missing": spec.allow_missing,
        "nan": spec.allow_nan,
        "description": spec.description,
    }


def _json(document: object) -> Response:
    return Response(_encode(document), media_type=JSON)


async def _show_page(request: Request) -> Response:  # noqa: ARG001 # the same for everybody
    return Response(_PAGE, media_type="text/html; charset=utf-8", headers=_GUARD)


async def _show_asset(request: Request) -> Response:
    name = request.path_params["asset"]
    if name == "start.js":
        return Response(_START, media_type="text/javascript", headers=_GUARD)
    if name not in _ASSETS:
        raise HttpFaultError(404, InvalidRequestError(f"there is no {name[:80]!r} here"))
    octets = await asyncio.to_thread(_asset, name)
    return Response(octets, media_type=_ASSETS[name], headers={**_GUARD, "cache-control": "max-age=86400"})


@cache
def _asset(name: str) -> bytes:
    # Found without being imported: of that package nothing but its files is used.
    found = importlib.util.find_spec("swagger_ui")
    assert found is not None, "a dependency of this package"
    assert found.origin is not None, "a package with files"
    return (Path(found.origin).parent / "static" / name).read_bytes()
