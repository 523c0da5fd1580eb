"""Options of the router process, with their defaults."""

from dataclasses import dataclass
from pathlib import Path

from rendezvous_router.tls import TlsFiles

REST_PORT = 8000
"""Where clients look for REST, as in the field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RouterOptions:
    """How one router process runs. Built by `rendezvous_router.main` from arguments and environment.

    Raises:
        ValueError: a value is out of its range; the message names it.
    """

    nats_url: str = "nats://127.0.0.1:4222"
    """Address of the nats-server."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    grpc_port: int = 8001
    """Port of the gRPC front door; 0 takes a free one."""
    rest_port: int | None = None
    """Port of the REST front door; 0 takes a free one, None 8000 or, if that is taken, a free one."""
    rest_connections: int = 8192
    """Open REST connections of one worker at most; one more is answered 503 and closed."""
    metrics_port: int | None = None
    """Port of `/metrics`, `/healthz` and `/readyz`; 0 takes a free one, None 8002 or, if that is taken, a free one. Of
    several workers the first has it, the second the next one, and so on."""
    metrics_host: str = "127.0.0.1"
    """Address of that page, which is never encrypted and asks for no key."""
    cert: Path | None = None
    """Certificate chain of gRPC and REST, PEM; None: they are served in the clear."""
    cert_key: Path | None = None
    """Its private key, PEM."""
    client_ca: Path | None = None
    """Authorities that clients' certificates are checked against, PEM; None: clients need none."""
    insecure: bool = False
    """Whether others than this machine may be served without keys and TLS."""
    tenants: Path | None = None
    """Folder of the register of tenants; None: there is one tenant, and nobody is asked for a key."""
    journal: Path | None = None
    """Folder that keeps decisions on the disk until JetStream has them; None: a killed process loses its latest."""
    workers: int = 1
    """Worker processes that share the port."""
    max_in_flight: int = 4096
    """Requests accepted and not yet answered, over all endpoints of one worker; above it: OVERLOADED."""
    max_message_bytes: int = 4 << 20
    """Largest gRPC message and REST body received; larger ones never reach our own, friendlier check of an endpoint's
    limit."""
    answer_margin_ms: float = 5.0
    """Time kept back from the deadline, the policy's or the client's, so that the answer is with the client by then;
    at most a tenth of it."""
    repeat_window_s: float = 120.0
    """How long an answer is kept for a retry with the same request id."""
    repeat_entries: int = 16384
    """How many answers are kept for that at most; the oldest go first."""
    repeat_bytes: int = 64 << 20
    """How many bytes they take together at most; the oldest go first."""
    drain_s: float = 10.0
    """Longest wait on SIGTERM for accepted requests to be answered."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name, low, high in (
            ("grpc_port", 0, 65535),
            ("rest_port", 0, 65535),
            ("rest_connections", 1, 1_000_000),
            ("metrics_port", 0, 65535),
            ("workers", 1, 64),
            ("max_in_flight", 1, 1_000_000),
            ("max_message_bytes", 1 << 16, 1 << 30),
            ("answer_margin_ms", 0, 1000),
            ("repeat_window_s", 0, 3600),
            ("repeat_entries", 0, 10_000_000),
            ("repeat_bytes", 0, 1 << 40),
            ("drain_s", 0, 600),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} = {value}: must lie between {low} and {high}")
        if (self.cert is None) != (self.cert_key is None):
            given, missing = ("--cert", "--cert-key") if self.cert is not None else ("--cert-key", "--cert")
            raise ValueError(f"{given} is given without {missing}: a certificate and its private key belong together")
        if self.client_ca is not None and self.cert is None:
            raise ValueError("--client-ca is given without --cert: clients show certificates over TLS only")

    @property
    def tls_files(self) -> TlsFiles | None:
        """Files of the doors' TLS; None: they are served in the clear."""
        if self.cert is None or self.cert_key is None:
            return None
        return TlsFiles(cert=self.cert, key=self.cert_key, client_ca=self.client_ca)
