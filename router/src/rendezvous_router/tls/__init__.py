"""TLS of the router's doors: certificates that are read again when they change, and a development authority."""

from rendezvous_router.tls.errors import TlsError
from rendezvous_router.tls.exposure import check_exposure
from rendezvous_router.tls.files import TlsFiles
from rendezvous_router.tls.server import ServerTls

__all__ = ["ServerTls", "TlsError", "TlsFiles", "check_exposure"]
