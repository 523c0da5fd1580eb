"""The files of a server's TLS: read together, checked together, noticed when they change."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from rendezvous_router.tls.errors import TlsError

__all__ = ["TlsFiles", "TlsMaterial"]

Stamp = tuple[tuple[int, int, int], ...]
"""What a change of files shows by: of each its inode, its size, and when it was written."""

_CERT = "--cert, RENDEZVOUS_SERVER_CERT"
_KEY = "--cert-key, RENDEZVOUS_SERVER_CERT_KEY"
_CLIENT_CA = "--client-ca, RENDEZVOUS_CLIENT_CA"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsMaterial:
    """What was in the files at one moment."""

    chain: bytes
    """The certificate, and those between it and its authority, PEM."""
    key: bytes
    """Its private key, PEM."""
    client_ca: bytes | None
    """Authorities that clients' certificates are checked against, PEM; None: clients need none."""
    until: datetime
    """When the certificate expires."""
    context: ssl.SSLContext
    """The same for servers that take such an object."""

    def __repr__(self) -> str:
        return f"TlsMaterial(until={self.until:%Y-%m-%d})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where a server's certificate, its key and its clients' authority are."""

    cert: Path
    """Certificate chain, PEM, the server's own first."""
    key: Path
    """Private key, PEM, unencrypted."""
    client_ca: Path | None = None
    """Authorities of clients' certificates, PEM; None: clients need none."""

    @property
    def stamp(self) -> Stamp | None:
        """What shows that a file was changed; None while one is missing."""
        try:
            found = [path.stat() for path in (self.cert, self.key, self.client_ca) if path is not None]
        except OSError:
            return None
        return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)

    def read(self) -> TlsMaterial:
        """Returns what is in the files.

        Raises:
            TlsError: a file is missing, unreadable, no PEM, or does not belong to the others.
        """
        chain = _read(self.cert, "certificate", _CERT)
        key = _read(self.key, "private key", _KEY)
        client_ca = None if self.client_ca is None else _read(self.client_ca, "authority of clients", _CLIENT_CA)
        until = self._check(chain, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.cert, self.key, password="")  # else it would ask at the terminal
        except (OSError, ValueError) as error:
            raise TlsError(f"certificate {self.cert} and key {self.key} cannot be used: {_reason(error)}") from error
        if client_ca is not None:
            try:
                context.load_verify_locations(cadata=client_ca.decode("ascii"))
            except (OSError, ValueError) as error:
                raise TlsError(
                    f"authority of clients {self.client_ca} ({_CLIENT_CA}) holds no certificates in PEM"
                ) from error
            context.verify_mode = ssl.CERT_REQUIRED
        return TlsMaterial(chain=chain, key=key, client_ca=client_ca, until=until, context=context)

    def _check(self, chain: bytes, key: bytes) -> datetime:
        try:
            certificate = x509.load_pem_x509_certificates(chain)[0]
        except ValueError as error:
            raise TlsError(f"{self.cert} ({_CERT}) holds no certificate in PEM") from error
        try:
            private = serialization.load_pem_private_key(key, password=None)
        except TypeError as error:
            raise TlsError(f"{self.key} ({_KEY}) is encrypted: give a key without a password") from error
        except ValueError as error:
            raise TlsError(f"{self.key} ({_KEY}) holds no private key in PEM") from error
        if certificate.public_key() != private.public_key():
            raise TlsError(
                f"key {self.key} does not belong to certificate {self.cert}: "
                "give the two that were made together (--cert, --cert-key)"
            )
        return certificate.not_valid_after_utc


def _read(path: Path, what: str, option: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise TlsError(
            f"{what} {path} ({option}) does not exist: name one that does; "
            "`rendezvous certs` makes certificates for development"
        ) from error
    except OSError as error:
        raise TlsError(f"{what} {path} ({option}) cannot be read: {error.strerror or error}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or getattr(error, "strerror", "") or error)


def is_expired(material: TlsMaterial) -> bool:
    """Returns whether clients will refuse the certificate."""
    return material.until <= datetime.now(UTC)
