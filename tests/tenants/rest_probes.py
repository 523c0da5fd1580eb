"""Tries every path of the REST port, and paths that are none, on what belongs to somebody else."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import quote

from rendezvous_proto.keys import Key

from tests.tenants.probing import HOSTILE, TABLE, Place, Prey, Seen, bearer, said_in

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE")
ROWS = {"rows": [{name: values[0] for name, values in TABLE.items()}]}
TENSORS = {
    "parameters": {"explain": True},
    "inputs": [
        {"name": "a", "datatype": "FP64", "shape": [1], "data": [1.0]},
        {"name": "b", "datatype": "INT64", "shape": [1], "data": [2]},
        {"name": "tag", "datatype": "BYTES", "shape": [1], "data": ["x"]},
    ],
}
ENDPOINT_PATHS = (
    "/v1/endpoints/{e}",
    "/v1/endpoints/{e}/",
    "/v1/endpoints/{e}/score",
    "/v1/endpoints/{e}/score?explain=true",
    "/v1/endpoints/{e}/score?model={m}",
    "/v1/endpoints/{e}/score?tenant=bank",
    "/v1/endpoints/{e}/score?context.tenant=bank&explain=true",
    "/v1/endpoints/{e}%2Fscore",
    "/v1/endpoints/{e}/feedback",
    "/v1/endpoints/bank%2F{e}/feedback",
    "/v1/endpoints/bank%2F{e}/score",
    "/v1/endpoints/bank%252F{e}/score",
    "/v1/endpoints/sum/../{e}/score",
    "/v1/endpoints/sum%2F..%2F{e}/score",
    "/v1/endpoints/sum%252F..%252F{e}/score",
    "/v1/endpoints/./{e}",
    "//v1//endpoints//{e}",
    "/v1/endpoints/{e};tenant=bank/score",
    "/v1/endpoints/{e}%00/score",
    "/v1/tenants/bank/endpoints/{e}",
    "/bank/v1/endpoints/{e}/score",
    "/v2/models/{e}",
    "/v2/models/{e}/ready",
    "/v2/models/{e}/infer",
    "/v2/models/{e}/versions/1/infer",
    "/v2/models/{e}/{m}",
    "/v2/models/{e}/{m}/ready",
    "/v2/models/{e}%2F{m}/infer",
    "/v2/models/{e}%252F{m}/infer",
    "/v2/models/bank/{e}/infer",
    "/v2/models/../models/{e}/infer",
    "/v2/models/sum%2F..%2F{e}/infer",
)
COMMON_PATHS = (
    "/",
    "/v1",
    "/v1/endpoints",
    "/v1/endpoints?tenant=bank",
    "/v1/endpoints/%2A",
    "/v1/feedback",
    "/v1/tenants",
    "/v1/keys",
    "/v2",
    "/v2/models",
    "/v2/models/",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/repository/index",
    "/openapi.json",
    "/openapi.json?tenant=bank",
    "/docs",
    "/docs/start.js",
    "/docs/..%2f..%2ftenants%2fregister.json",
    "/docs/%2e%2e/%2e%2e/tenants/register.json",
    "/metrics",
    "/metrics?tenant=bank",
    "/healthz",
    "/readyz",
    "/debug",
    "/../tenants/register.json",
)


def probe_rest(place: Place, key: Key | None, seen: Seen) -> None:
    """Sends every method to every path, for every name, as the owner of *key*."""
    prey = place.prey
    connection = http.client.HTTPConnection(place.rest, timeout=20)
    try:
        for path, said in paths(prey):
            for method in METHODS:
                for extra in ({}, {**HOSTILE, "host": "bank", "x-original-url": f"/v1/endpoints/{prey.endpoint}"}):
                    # With an id of the prey's: a retry of what is not one's own.
                    headers = {**bearer(key), **extra, "x-request-id": prey.request_id}
                    _ask(connection, method, path, headers, seen, (*said, prey.request_id))
    finally:
        connection.close()


def paths(prey: Prey) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields paths, and the names in them."""
    for name in prey.names:
        for path in ENDPOINT_PATHS:
            question = path.replace("{e}", quote(name, safe="")).replace("{m}", prey.model)
            yield question, (name, quote(name, safe=""), *said_in(question, prey.model))
    for path in COMMON_PATHS:
        yield path, ()


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    seen: Seen,
    said: tuple[str, ...],
) -> None:
    document: dict[str, object] = {**TENSORS, "id": said[-1]} if path.startswith("/v2") else ROWS
    if path.endswith("/feedback"):
        document = {"request_id": said[-1], "feedback_id": said[-1], "kind": "truth", "value": 1}
    body = json.dumps(document).encode() if method in ("POST", "PUT", "PATCH") else b""
    connection.putrequest(method, path, skip_host="host" in headers, skip_accept_encoding=True)
    for name, value in {**headers, "content-type": "application/json", "content-length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    given = response.read()
    seen.add(f"{method} {path} {response.status} {response.getheaders()} ".encode() + given, path, *said)
    assert response.status != 500, (method, path, given)
