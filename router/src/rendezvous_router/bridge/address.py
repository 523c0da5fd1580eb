"""Addresses of model servers: `grpc://host:port`, `oip+grpc://host:port/model`, `oip+http://host:port/model`.

An `s` after the scheme (`grpcs`, `oip+grpcs`, `oip+https`) means TLS.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import quote, unquote, urlsplit

from rendezvous_router.bridge.errors import BridgeError

__all__ = ["OIP_GRPC", "OIP_HTTP", "SCORE", "FarAddress", "parse_address"]

SCORE = "grpc"
"""Scheme of servers that implement `rendezvous.v1.Score`."""
OIP_GRPC = "oip+grpc"
"""Scheme of servers that speak the Open Inference Protocol v2 over gRPC."""
OIP_HTTP = "oip+http"
"""Scheme of servers that speak the Open Inference Protocol v2 over REST."""

_FORMS = {
    SCORE: f"{SCORE}://host:port",
    OIP_GRPC: f"{OIP_GRPC}://host:port/model[/version]",
    OIP_HTTP: f"{OIP_HTTP}://host:port/model[/version]",
}

_SECURE = {f"{scheme}s": scheme for scheme in _FORMS}


@dataclass(frozen=True, slots=True, kw_only=True)
class FarAddress:
    """Where the model is, and what is spoken there."""

    scheme: str
    """`SCORE`, `OIP_GRPC` or `OIP_HTTP`."""
    target: str
    """`host:port`."""
    tls: bool = False
    """Whether the connection is encrypted, and the server checked."""
    model: str = ""
    """Name of the model there; for `SCORE` the endpoint that is named in requests, empty: none."""
    version: str = ""
    """Version of the model there; empty: the server chooses."""

    def __str__(self) -> str:
        parts = [quote(part, safe="") for part in (self.model, self.version) if part]
        return "/".join([f"{self.scheme}{'s' if self.tls else ''}://{self.target}", *parts])


def parse_address(text: str) -> FarAddress:
    """Returns the address that *text* means.

    Raises:
        BridgeError: another scheme, no host or port, no model where one is needed, or anything beyond that.
    """
    parts = urlsplit(text)
    scheme = _SECURE.get(parts.scheme, parts.scheme)
    if "://" not in text or scheme not in _FORMS:
        raise BridgeError(_refusal(text, _scheme_fault(text, parts.scheme)))
    try:
        port = parts.port
    except ValueError as error:
        raise BridgeError(_refusal(text, "its port is not a number between 1 and 65535")) from error
    if not parts.hostname or not port:
        raise BridgeError(_refusal(text, "it has no port" if parts.hostname else "it has no host"))
    if parts.username is not None or parts.query or parts.fragment:
        raise BridgeError(_refusal(text, "only host, port and path may be given"))
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    most = 1 if scheme == SCORE else 2
    if len(path) > most:
        raise BridgeError(_refusal(text, f"its path has {len(path)} parts, at most {most} may be given"))
    if not path and scheme != SCORE:
        raise BridgeError(_refusal(text, "it does not name the model"))
    model, version = (*path, "", "")[:2]
    return FarAddress(scheme=scheme, target=parts.netloc, tls=scheme != parts.scheme, model=model, version=version)


def _scheme_fault(text: str, scheme: str) -> str:
    if "://" not in text:
        return "it has no scheme"
    aliases = {"http": OIP_HTTP, "https": f"{OIP_HTTP}s", "oip": OIP_GRPC, "grpc+oip": OIP_GRPC, "http+oip": OIP_HTTP}
    near = aliases.get(scheme) or next(iter(get_close_matches(scheme, [*_FORMS, *_SECURE], n=1)), None)
    return f"scheme {scheme!r} is unknown" + (f", did you mean {near!r}?" if near else "")


def _refusal(text: str, fault: str) -> str:
    forms = ", ".join(_FORMS.values())
    return f"address {text!r}: {fault}; write {forms}; with TLS an s follows the scheme, {SCORE}s://"
