"""A development authority: a CA of one's own, and certificates of router, NATS and clients that it signs.

For one machine, a test, a demonstration. The authority's key lies unencrypted beside the certificates, readable by
its owner alone: whoever has it can be anybody. In production certificates come from an authority that is looked after.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rendezvous_proto.postbox import check_name

from rendezvous_router.tls.errors import TlsError

__all__ = ["CA_DAYS", "DAYS", "DEFAULT_HOSTS", "MadeFile", "make_certificates"]

DEFAULT_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Names and addresses that the servers' certificates are good for, unless others are named."""
DAYS = 90
"""Days that a certificate is good for."""
CA_DAYS = 3650
"""Days that the authority is good for."""

_MARK = "Rendezvous development CA"
_SERVERS = ("router", "nats")
_CLIENT = "client"
_RENEW_SHARE = 1 / 3
_BACKDATED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """What became of one certificate."""

    name: str
    """`ca`, `router`, `nats`, `client` or a client's name."""
    path: Path
    """The certificate; its key is beside it, `<name>-key.pem`."""
    action: str
    """`made`, `renewed` or `kept`."""
    reason: str
    """Why it was renewed; empty otherwise."""
    until: datetime
    """When it expires."""


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(
    folder: Path,
    *,
    hosts: Sequence[str] | None = None,
    days: int = DAYS,
    names: Sequence[str] = (),
    now: datetime | None = None,
) -> list[MadeFile]:
    """Makes what is missing in a folder, and renews what has less than a third of its days left, or other hosts.

    Args:
        folder: made when missing, readable by its owner alone.
        hosts: names and addresses of the certificates of router and nats-server; None: those that they have, at first
            `DEFAULT_HOSTS`.
        days: days that certificates made now are good for; the authority's last ten years.
        names: further clients, a certificate each; those made before are looked after, too.
        now: the present time; None asks the clock.

    Returns:
        Every file and what was done, the authority first.

    Raises:
        TlsError: the folder holds an authority that was not made here, or files that cannot be read or written.
        InvalidRequestError: a name is malformed.
    """
    if days < 1:
        raise TlsError(f"--days {days}: at least 1")
    for name in names:
        check_name("client", name)
        if name in ("ca", *_SERVERS):
            raise TlsError(f"--name {name}: that is the certificate of something else: choose another name")
    moment = now or datetime.now(UTC)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        authority, first = _authority(folder, moment)
        made = [first]
        earlier = sorted(path.name.removesuffix("-key.pem") for path in folder.glob("*-key.pem"))
        for name in dict.fromkeys((*_SERVERS, _CLIENT, *names, *(each for each in earlier if each != "ca"))):
            wanted = _server_names(folder / f"{name}.pem", hosts) if name in _SERVERS else []
            made.append(_leaf(folder, name, authority, wanted, days=days, now=moment))
    except OSError as error:
        raise TlsError(f"{error.filename or folder}: {error.strerror or error}") from error
    return made


def _authority(folder: Path, now: datetime) -> tuple[_Authority, MadeFile]:
    path, key_path = folder / "ca.pem", folder / "ca-key.pem"
    if path.exists() or key_path.exists():
        authority = _load_authority(path, key_path)
        until = authority.certificate.not_valid_after_utc
        if until <= now:
            raise TlsError(
                f"{path} expired on {until:%Y-%m-%d}: nothing that it signs is worth anything. Remove the folder "
                f"{folder} and make a new authority; everybody who trusts the old one needs the new ca.pem"
            )
        return authority, MadeFile(name="ca", path=path, action="kept", reason="", until=until)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _MARK)])
    until = now + timedelta(days=CA_DAYS)
    certificate = (
        _builder(subject, subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, _key_pem(key))
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return _Authority(certificate, key), MadeFile(name="ca", path=path, action="made", reason="", until=until)


def _load_authority(path: Path, key_path: Path) -> _Authority:
    foreign = (
        f"was not made by this command, so it is left alone: choose another folder with --out, or move {path} away"
    )
    if not path.exists() or not key_path.exists():
        there, missing = (path, key_path) if path.exists() else (key_path, path)
        raise TlsError(f"{there} is there without {missing.name}; it {foreign}")
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise TlsError(f"{path} or its key is no PEM file that can be read; it {foreign}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or _common_name(certificate) != _MARK:
        raise TlsError(f"{path} ({certificate.subject.rfc4514_string()}) {foreign}")
    if not _is_pair(certificate, key):
        raise TlsError(f"{key_path} is not the key of {path}; it {foreign}")
    return _Authority(certificate, key)


def _leaf(
    folder: Path, name: str, authority: _Authority, wanted: list[x509.GeneralName], *, days: int, now: datetime
) -> MadeFile:
    path, key_path = folder / f"{name}.pem", folder / f"{name}-key.pem"
    reason = ""
    if path.exists() and key_path.exists():
        reason, until = _fault(path, key_path, authority, wanted, now)
        if not reason:
            return MadeFile(name=name, path=path, action="kept", reason="", until=until)
    until = min(now + timedelta(days=days), authority.certificate.not_valid_after_utc)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = _builder(subject, authority.certificate.subject, key.public_key(), now, until)
    if wanted:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName(wanted), critical=False)
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    _write(key_path, _key_pem(key))
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return MadeFile(name=name, path=path, action="renewed" if reason else "made", reason=reason, until=until)


def _fault(
    path: Path, key_path: Path, authority: _Authority, wanted: list[x509.GeneralName], now: datetime
) -> tuple[str, datetime]:
    """Returns why a certificate is made anew (empty: it is good), and until when it is good."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (ValueError, TypeError):
        return "it could not be read", now
    begun, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, ValueError, TypeError):
        return "another authority had signed it", until
    if not _is_pair(certificate, key):
        return "its key did not belong to it", until
    if wanted and set(_names_of(certificate)) != set(wanted):
        return "the hosts have changed", until
    if until - now < (until - begun) * _RENEW_SHARE:
        return "it had expired" if until <= now else "it expires soon", until
    return "", until


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(until)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subject_names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            if not host or not host.isascii() or any(c.isspace() or c in "/:" for c in host):
                raise TlsError(
                    f"--host {host!r} is neither a name nor an address, as in example.org or 10.0.0.7"
                ) from None
            names.append(x509.DNSName(host))
    return names


def _server_names(path: Path, hosts: Sequence[str] | None) -> list[x509.GeneralName]:
    if hosts is None and path.exists():
        try:
            return _names_of(x509.load_pem_x509_certificate(path.read_bytes())) or _subject_names(DEFAULT_HOSTS)
        except ValueError:
            pass  # is made anew, and says so
    return _subject_names(DEFAULT_HOSTS if hosts is None else hosts)


def _names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _common_name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _is_pair(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    return certificate.public_key() == key.public_key()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replaces a file at once, so that nobody reads half of it; a key is never readable by others, not even before."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
