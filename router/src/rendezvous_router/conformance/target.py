"""What is tried: a gRPC address, or a model of an endpoint."""

from dataclasses import dataclass

from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.postbox import check_name, check_version

__all__ = ["Target", "TargetError", "parse_target"]

_SCHEME = "grpc://"


class TargetError(ValueError):
    """The text names no target; the message tells how one is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is tried. Either `address` is set, or `endpoint` and `model`."""

    address: str = ""
    """HOST:PORT of the service `Score`."""
    endpoint: str = ""
    """Endpoint of the model."""
    model: str = ""
    """Name of the model."""
    version: str = ""
    """Its version; empty: whichever is registered, with --run `1`."""

    def __str__(self) -> str:
        """Returns the target as it is written."""
        version = f":{self.version}" if self.version else ""
        return f"{_SCHEME}{self.address}" if self.address else f"{self.endpoint}/{self.model}{version}"


def parse_target(text: str) -> Target:
    """Parses `grpc://host:port` or `endpoint/model`, with `:version` where there are several.

    Raises:
        TargetError: it is neither.
    """
    if text.startswith(_SCHEME):
        host, _, port = text.removeprefix(_SCHEME).rpartition(":")
        if not host or not port.isdigit():
            raise TargetError(f"{text!r} is no address: write it as grpc://127.0.0.1:8001")
        return Target(address=f"{host}:{port}")
    endpoint, slash, rest = text.partition("/")
    model, _, version = rest.partition(":")
    if not slash:
        raise TargetError(f"{text!r} is no target: write grpc://HOST:PORT or ENDPOINT/MODEL")
    try:
        check_name("endpoint", endpoint)
        check_name("model", model)
        if version:
            check_version(version)
    except InvalidRequestError as error:
        raise TargetError(
            f"{text!r} is no target ({error.message}): write grpc://HOST:PORT or ENDPOINT/MODEL"
        ) from error
    return Target(endpoint=endpoint, model=model, version=version)
