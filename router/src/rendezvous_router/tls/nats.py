"""TLS of an embedded nats-server."""

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NatsTls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsTls:
    """Certificates of a nats-server; it reads the files again on SIGHUP."""

    cert: Path
    """Certificate chain, PEM."""
    key: Path
    """Its private key, PEM."""
    ca: Path | None = None
    """Authority of clients' certificates, PEM; None: the system's."""
    verify: bool = False
    """Whether clients must show a certificate that the authority signed: mutual TLS."""

    def configuration(self) -> str:
        """Returns the part `tls` of the server's configuration. Everybody must speak TLS."""
        files = {"cert_file": self.cert, "key_file": self.key} | ({} if self.ca is None else {"ca_file": self.ca})
        lines = [f"  {name}: {json.dumps(str(path.absolute()))}\n" for name, path in files.items()]
        return f'tls {{\n{"".join(lines)}  min_version: "1.2"\n  verify: {str(self.verify).lower()}\n}}\n'
