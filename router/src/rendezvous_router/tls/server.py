"""TLS of the router's doors: one place that notices changed files, and hands what is in force to gRPC and REST.

New connections get the newest certificate; those that stand go on with theirs. A file that is broken changes nothing:
what was in force stays, and one line in the log says why.
"""

import asyncio
import logging
import ssl

import grpc

from rendezvous_router.tls.errors import TlsError
from rendezvous_router.tls.files import TlsFiles, TlsMaterial, is_expired

__all__ = ["WATCH_S", "ServerTls"]

WATCH_S = 0.5
"""How often the files are looked at. Two in a row must be alike: whoever writes several files is let finish."""

_log = logging.getLogger(__name__)


class ServerTls:
    """What a server's doors need for TLS; follows its files while `watch` runs.

    Args:
        files: where they are.

    Raises:
        TlsError: a file is missing or broken.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp = files.stamp
        self._material = files.read()
        self._complaint = ""
        self._tell()

    @property
    def material(self) -> TlsMaterial:
        """What is in force."""
        return self._material

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Returns credentials for a gRPC port, which give each new connection what is in force then."""
        shown: list[TlsMaterial] = [self._material]

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Called by gRPC before each handshake, in a thread of its own; None: as before."""
            if self._material is shown[0]:
                return None
            shown[0] = self._material
            return _grpc_configuration(shown[0])

        return grpc.dynamic_ssl_server_credentials(
            _grpc_configuration(self._material),
            fetch,  # type: ignore[arg-type] # None is allowed: grpcio's documentation
            require_client_authentication=self._asks_clients,
        )

    def ssl_context(self) -> ssl.SSLContext:
        """Returns a context for an HTTP server, which gives each new connection what is in force then."""
        context = self._files.read().context

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            # Certificate, key and authorities of clients alike are taken from the context set here.
            connection.context = self._material.context

        context.sni_callback = choose
        return context

    async def watch(self) -> None:
        """Follows the files until it is cancelled."""
        seen = self._stamp
        while True:
            await asyncio.sleep(WATCH_S)  # no notification reaches across all file systems and container mounts
            stamp = self._files.stamp
            if stamp == seen and stamp != self._stamp:
                self._stamp = stamp
                await asyncio.to_thread(self._read_again)
            seen = stamp

    @property
    def _asks_clients(self) -> bool:
        return self._files.client_ca is not None

    def _read_again(self) -> None:
        try:
            self._material = self._files.read()
        except TlsError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.error("changed certificates are not used, those before stay in force: %s", error)
            return
        self._complaint = ""
        self._tell()

    def _tell(self) -> None:
        material, asked = self._material, ", clients need one, too" if self._asks_clients else ""
        if is_expired(material):
            _log.error("certificate %s expired on %s: clients refuse it", self._files.cert, material.until.date())
        else:
            _log.info("certificate %s in force, until %s%s", self._files.cert, material.until.date(), asked)


def _grpc_configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(material.key, material.chain)], material.client_ca)
