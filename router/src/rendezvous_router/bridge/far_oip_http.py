"""A model behind the Open Inference Protocol v2 over REST."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import BadStatusLine, RemoteDisconnected
from typing import Any
from urllib.parse import quote

import urllib3
from rendezvous_proto import v1
from rendezvous_proto.errors import (
    InvalidOutputError,
    ModelFailedError,
    OverloadedError,
    RendezvousError,
    TooLargeError,
    UnavailableError,
)
from rendezvous_proto.ids import new_id
from rendezvous_sdk.credentials import Credentials
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from rendezvous_router.bridge.address import FarAddress
from rendezvous_router.bridge.channel import timed_out
from rendezvous_router.bridge.errors import BridgeError, FarSilentError, FarWaitError
from rendezvous_router.bridge.far import CallContext, FarInfo
from rendezvous_router.bridge.mapping import MappingSpec
from rendezvous_router.bridge.oip import UnknownModel, describe_far
from rendezvous_router.bridge.tensors import column_of_json, datatype_of, json_of_column

__all__ = ["OipHttpFar"]

_TEXT_CHARACTERS = 300
_CHUNK_BYTES = 1 << 16
_GONE = frozenset({404, 502, 503, 504})


class OipHttpFar:
    """See `rendezvous_router.bridge.far.Far`.

    Args:
        address: where it is.
        mapping: parameters of each request.
        connections: most connections that are kept open.
        max_message_bytes: largest answer, unpacked where it came compressed.
        credentials: for an address with TLS; None: the system's authorities, and no own certificate.
    """

    def __init__(
        self,
        address: FarAddress,
        *,
        mapping: MappingSpec,
        connections: int,
        max_message_bytes: int,
        credentials: Credentials | None = None,
    ) -> None:
        self.address = address
        self._max_bytes = max_message_bytes
        host, port = _host_and_port(address.target)
        self._pool: urllib3.HTTPConnectionPool = (
            urllib3.HTTPSConnectionPool(
                host,
                port,
                maxsize=connections,
                retries=False,
                block=False,
                ssl_context=(credentials or Credentials()).ssl_context(),
            )
            if address.tls
            else urllib3.HTTPConnectionPool(host, port, maxsize=connections, retries=False, block=False)
        )
        version = f"/versions/{quote(address.version, safe='')}" if address.version else ""
        self._path = f"/v2/models/{quote(address.model, safe='')}{version}"
        self._parameters = dict(mapping.parameters)
        self._unknown = UnknownModel(address)

    def describe(self, timeout_s: float) -> FarInfo:
        """Asks for the metadata of server and model, and whether the model is ready."""
        server = self._metadata("/v2", timeout_s)
        if not isinstance(server, dict) or "name" not in server:
            raise BridgeError(
                f"{self.address.target} does not speak the Open Inference Protocol over REST "
                "(GET /v2 names no server): is it another port?"
            )
        model = self._metadata(self._path, timeout_s)
        if not isinstance(model, dict):
            raise self._unknown.failure("GET " + self._path + " finds nothing")
        self.check(timeout_s)
        return describe_far(
            self.address,
            runtime=f"{server['name']} {server.get('version', '')}".strip(),
            platform=str(model.get("platform") or ""),
            inputs=[_tensor(each) for each in model.get("inputs") or ()],
            outputs=[_tensor(each) for each in model.get("outputs") or ()],
        )

    def check(self, timeout_s: float) -> None:
        """Asks whether the model is ready."""
        response = self._ask(f"{self._path}/ready", timeout_s)
        document = _json_or_none(response.body)
        is_ready = document.get("ready", True) if isinstance(document, dict) else True
        if response.status != 200 or not is_ready:
            raise FarWaitError(f"{self.address} says that its model is not ready (status {response.status})")

    def call(self, frame: v1.Frame, context: CallContext, outputs: Sequence[str], timeout_s: float) -> v1.Frame:
        """Posts to `infer`."""
        request_id = new_id()
        body = json.dumps(self._request(frame, outputs, request_id), allow_nan=False).encode()
        response = self._post(body, dict(context.metadata), timeout_s)
        document = _json_or_none(response.body)
        if response.status != 200:
            raise _failure(response.status, document, response.body)
        if not isinstance(document, dict) or not isinstance(document.get("outputs"), list):
            raise InvalidOutputError("the model server's answer is no JSON document with outputs")
        if document.get("id") not in (None, "", request_id):
            raise InvalidOutputError(
                f"the model server answered request {document['id']!r} when asked {request_id!r}",
                {"expected": request_id, "actual": document["id"]},
            )
        columns = [_column(each, frame.rows) for each in document["outputs"]]
        return v1.Frame(rows=frame.rows, columns=columns)

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()

    def _request(self, frame: v1.Frame, outputs: Sequence[str], request_id: str) -> dict[str, Any]:
        request: dict[str, Any] = {
            "id": request_id,
            "inputs": [
                {
                    "name": column.name,
                    "shape": [frame.rows, *column.shape],
                    "datatype": datatype_of(column),
                    "data": json_of_column(column),
                }
                for column in frame.columns
            ],
        }
        if outputs:
            request["outputs"] = [{"name": name} for name in outputs]
        if self._parameters:
            request["parameters"] = self._parameters
        return request

    def _post(self, body: bytes, headers: dict[str, str], timeout_s: float) -> "_Response":
        """Posts once more where a kept connection turns out to be closed: an idle server may do that at any time."""
        for is_last in (False, True):
            try:
                return self._request_bounded(
                    "POST",
                    f"{self._path}/infer",
                    timeout_s,
                    body=body,
                    headers={"Content-Type": "application/json", **headers},
                )
            except _TooManyBytesError as error:
                raise TooLargeError(
                    f"the model server's answer has {error}: ask for fewer outputs, or send fewer rows at a time",
                    {"limit": self._max_bytes},
                ) from error
            except ReadTimeoutError as error:
                raise timed_out(timeout_s) from error
            except ProtocolError as error:
                if is_last:
                    raise UnavailableError(f"the connection was lost: {_reason(error)}") from error
            except HTTPError as error:
                raise UnavailableError(_reason(error)) from error
        raise AssertionError("the second attempt returned or raised")

    def _metadata(self, path: str, timeout_s: float) -> Any:
        """Returns the JSON document at *path*; None where there is none."""
        try:
            response = self._ask(path, timeout_s)
        except FarWaitError as error:
            if _is_not_http(error.__cause__):
                raise BridgeError(
                    f"{self.address.target} does not speak HTTP: is it its gRPC port? ({error})"
                ) from error
            raise
        if response.status >= 500:
            raise FarWaitError(f"{self.address.target} answers GET {path} with status {response.status}")
        return _json_or_none(response.body) if response.status == 200 else None

    def _ask(self, path: str, timeout_s: float) -> "_Response":
        try:
            return self._request_bounded("GET", path, timeout_s)
        except _TooManyBytesError as error:
            raise FarWaitError(f"{self.address} answers GET {path} with {error}") from error
        except ReadTimeoutError as error:
            raise FarSilentError(f"{self.address} does not answer") from error
        except HTTPError as error:
            raise FarWaitError(f"{self.address}: {_reason(error)}") from error

    def _request_bounded(self, method: str, path: str, timeout_s: float, **content: Any) -> "_Response":
        """Reads no more than may come; a connection on which more is waiting is closed."""
        response = self._pool.request(method, path, timeout=timeout_s, preload_content=False, **content)
        try:
            body = _read(response, self._max_bytes)
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()
        return _Response(response.status, body)


@dataclass(frozen=True, slots=True)
class _Response:
    """A status, and the whole body."""

    status: int
    body: bytes


class _TooManyBytesError(Exception):
    """An answer is larger than may be; how large is its message."""


def _read(response: urllib3.BaseHTTPResponse, most: int) -> bytes:
    body = bytearray()
    for chunk in response.stream(_CHUNK_BYTES):
        body += chunk
        if len(body) > most:
            raise _TooManyBytesError(f"more than {most} bytes, the limit")
    return bytes(body)


def _host_and_port(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host, int(port)


def _tensor(metadata: dict[str, Any]) -> tuple[str, str, Sequence[int]]:
    return str(metadata.get("name", "")), str(metadata.get("datatype") or ""), metadata.get("shape") or ()


def _column(tensor: object, rows: int) -> v1.Column:
    if not isinstance(tensor, dict) or not {"name", "datatype", "shape", "data"} <= tensor.keys():
        raise InvalidOutputError("the model server's answer has an output without name, datatype, shape or data")
    return column_of_json(tensor["name"], tensor["datatype"], tensor["shape"], tensor["data"], rows)


def _failure(status: int, document: object, body: bytes) -> RendezvousError:
    details = document.get("error") if isinstance(document, dict) else None
    text = " ".join(str(details or body.decode(errors="replace")).split())[:_TEXT_CHARACTERS]
    attributes = {"http_status": status}
    if status in _GONE:
        return UnavailableError(f"status {status}: {text}", attributes)
    if status == 429:
        return OverloadedError(f"the model server takes no more calls: {text}", attributes)
    if status == 413:
        return TooLargeError(f"the model server refuses so large a request: {text}", attributes)
    return ModelFailedError(f"the model server answered {status}: {text or 'no details'}", attributes)


def _is_not_http(error: BaseException | None) -> bool:
    """Whether something came, and it was no status line."""
    reasons = error.args if isinstance(error, ProtocolError) else ()
    return any(isinstance(each, BadStatusLine) and not isinstance(each, RemoteDisconnected) for each in reasons)


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_TEXT_CHARACTERS]
