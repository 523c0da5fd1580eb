"""Who a process is, and whom it believes: key, authority, own certificate; the same for gRPC and NATS.

Read from arguments and environment, arguments first:

| argument | variable | meaning |
|---|---|---|
| `key` | `RENDEZVOUS_KEY`, or `RENDEZVOUS_KEY_FILE` | the key, or a file that holds it |
| `ca` | `RENDEZVOUS_CA` | authority that servers' certificates are checked against, PEM |
| `cert`, `cert_key` | `RENDEZVOUS_CERT`, `RENDEZVOUS_CERT_KEY` | own certificate chain and its key, PEM: mutual TLS |
| `tls` | `RENDEZVOUS_TLS=1` | TLS with the system's authorities |
| `insecure` | `RENDEZVOUS_INSECURE=1` | a key may be sent without TLS to other than loopback |
"""

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.keys import Key, inbox_prefix, parse_key

__all__ = ["Credentials", "is_loopback"]

_SCHEME = re.compile(r"\A(?:dns|ipv4|ipv6|passthrough):(?://(?P<authority>[^/]*)/)?")
_PATH = re.compile(r"\A(?:unix|unix-abstract):")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A process's key and certificates. Prints without the key; nothing is opened before it is used.

    Raises:
        InvalidRequestError: a certificate without its key, or the other way round.
    """

    key: Key | None = None
    """The key; None: none is shown."""
    ca: Path | None = None
    """Authority that servers are checked against, PEM; None: the system's."""
    cert: Path | None = None
    """Own certificate chain, PEM; None: none is shown."""
    cert_key: Path | None = None
    """Its private key, PEM."""
    tls: bool = False
    """Whether TLS is used even where neither `ca` nor `cert` is given."""
    insecure: bool = False
    """Whether the key may be sent without TLS to other than loopback."""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.cert_key is None):
            given, missing = ("cert", "cert_key") if self.cert is not None else ("cert_key", "cert")
            raise InvalidRequestError(
                f"{given} is given without {missing}: a certificate and its private key belong together "
                "(RENDEZVOUS_CERT, RENDEZVOUS_CERT_KEY)"
            )

    @classmethod
    def read(
        cls,
        *,
        key: str | Path | None = None,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        cert_key: str | Path | None = None,
        tls: bool | None = None,
        insecure: bool | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Returns what arguments say, and the environment where they say nothing.

        Args:
            key: the key as text; a `Path`: a file that holds it.
            ca: file of the authority.
            cert: file of the own certificate chain.
            cert_key: file of its private key.
            tls: whether to use TLS with the system's authorities.
            insecure: whether the key may travel without TLS.
            environment: variables; None takes this process's.

        Raises:
            InvalidRequestError: the key is malformed, its file cannot be read, a switch is neither on nor off.
        """
        variables = os.environ if environment is None else environment
        # Who names a certificate means it together with its key: the environment's key belongs to another one.
        own = (cert, cert_key) if cert or cert_key else (None, None)
        return cls(
            key=_key(key, variables),
            ca=_path(ca or variables.get("RENDEZVOUS_CA")),
            cert=_path(own[0] if any(own) else variables.get("RENDEZVOUS_CERT")),
            cert_key=_path(own[1] if any(own) else variables.get("RENDEZVOUS_CERT_KEY")),
            tls=_switch("RENDEZVOUS_TLS", variables) if tls is None else tls,
            insecure=_switch("RENDEZVOUS_INSECURE", variables) if insecure is None else insecure,
        )

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted, and servers checked."""
        return self.tls or self.ca is not None or self.cert is not None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each gRPC call carries: `authorization`, where there is a key."""
        return () if self.key is None else (("authorization", f"Bearer {self.key.text}"),)

    @property
    def inbox_prefix(self) -> str:
        """Where replies of NATS are taken: a key's owner may subscribe below its own prefix only."""
        return "_INBOX" if self.key is None else inbox_prefix(self.key)

    def check_exposure(self, host: str, *, has_tls: bool | None = None) -> None:
        """Returns if the key may be sent to *host*.

        Args:
            host: name or address.
            has_tls: whether that connection is encrypted; None: `uses_tls`.

        Raises:
            InvalidRequestError: it would travel in the clear, readable on the way.
        """
        encrypted = self.uses_tls if has_tls is None else has_tls
        if self.key is None or encrypted or self.insecure or is_loopback(host):
            return
        raise InvalidRequestError(
            f"the key is not sent to {host} without TLS, where anybody on the way could read it: give the server's "
            "authority (ca=, RENDEZVOUS_CA), or say that the system's do (tls=True, RENDEZVOUS_TLS=1); or, if nobody "
            "can listen there, insecure=True (RENDEZVOUS_INSECURE=1)",
            {"host": host},
        )

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """Returns gRPC's credentials of what is in the files now; None: no TLS.

        Raises:
            InvalidRequestError: a file cannot be read.
        """
        if not self.uses_tls:
            return None
        ca, cert, cert_key = (None if path is None else _read(path) for path in (self.ca, self.cert, self.cert_key))
        return grpc.ssl_channel_credentials(root_certificates=ca, private_key=cert_key, certificate_chain=cert)

    def ssl_context(self) -> ssl.SSLContext:
        """Returns a context of what is in the files now, for NATS and HTTP.

        Raises:
            InvalidRequestError: a file cannot be read, or is not what it should be.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise InvalidRequestError(f"authority {self.ca} (RENDEZVOUS_CA): {_reason(error)}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.cert_key, password="")  # else it asks the terminal
            except OSError as error:
                raise InvalidRequestError(
                    f"certificate {self.cert} with key {self.cert_key} (RENDEZVOUS_CERT, RENDEZVOUS_CERT_KEY): "
                    f"{_reason(error)}"
                ) from error
        return context


def is_loopback(host: str) -> bool:
    """Returns whether *host* (name or address) is this machine as seen from itself: 127.0.0.0/8, ::1, localhost."""
    name = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def host_of(address: str) -> str:
    """Returns the host of `host:port`, `[host]:port`, or of gRPC's longer forms.

    A path on this machine is `localhost`. A name that a given DNS server is asked for is whatever that server says, so
    that it is never loopback: then the host is the whole address.
    """
    if _PATH.match(address):
        return "localhost"
    scheme = _SCHEME.match(address)
    if scheme is not None and scheme["authority"]:
        return address
    plain = address[scheme.end() :] if scheme else address
    return plain.rpartition(":")[0].strip("[]") or plain


def _key(given: str | Path | None, variables: Mapping[str, str]) -> Key | None:
    if isinstance(given, Path):
        return _key_in(given)
    if text := given or variables.get("RENDEZVOUS_KEY", ""):
        return parse_key(text)
    file = variables.get("RENDEZVOUS_KEY_FILE", "")
    return _key_in(Path(file)) if file else None


def _key_in(path: Path) -> Key:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"file of the key {path} cannot be read: {_reason(error)}") from error
    try:
        return parse_key(text)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"file of the key {path}: {error.message}") from None


def _path(value: str | Path | None) -> Path | None:
    return Path(value) if value else None


def _switch(variable: str, variables: Mapping[str, str]) -> bool:
    text = variables.get(variable, "").strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidRequestError(f"{variable} is {text[:20]!r}: write 1 or 0", {"variable": variable})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {_reason(error)}", {"path": str(path)}) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or getattr(error, "strerror", "") or type(error).__name__)
