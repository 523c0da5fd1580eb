"""How a bridge works: one frozen object, checked when made."""

from dataclasses import dataclass, field

from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.postbox import DEFAULT_ACK_WAIT_S
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.options import DEFAULT_NATS, ServeOptions

from rendezvous_router.bridge.address import FarAddress
from rendezvous_router.bridge.mapping import MappingSpec

__all__ = ["BridgeOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """How a bridge joins one model version to an endpoint.

    Raises:
        InvalidRequestError: a name is malformed or a number out of its range.
    """

    endpoint: str
    """Endpoint that the model joins."""
    name: str
    """The model's name in the endpoint."""
    version: str = "1"
    """Its version there."""
    to: FarAddress
    """Where the model is."""
    far_credentials: Credentials = field(default_factory=Credentials)
    """Authority of the model server's certificate, and the own one that is shown to it, where the address has TLS."""
    mapping: MappingSpec = field(default_factory=MappingSpec)
    """How the endpoint's columns become the model's, and back."""
    nats: str = DEFAULT_NATS
    """Address of the NATS server, several separated by commas."""
    concurrency: int = 4
    """Calls to the model server at one time; 1 to 256."""
    credit: int = 0
    """Parcels taken from the postbox ahead of scoring; 0: twice the concurrency."""
    max_rows: int = 4096
    """Most rows of one call; parcels that wait are joined up to it, a larger one is cut."""
    timeout_s: float = 10.0
    """Deadline of one call, seconds; 0.01 to 3600."""
    scoring_limit_s: float = 60.0
    """Seconds after which a table, whatever number of calls it takes, is given up."""
    ack_wait_s: float = DEFAULT_ACK_WAIT_S
    """Seconds without a sign of life after which a parcel goes to another replica."""
    enricher: int = 0
    """Stage of the enricher that the model is in the endpoint; 0: it is a model there."""
    max_message_bytes: int = 64 * 1024 * 1024
    """Largest message to and from the model server."""
    grpc_port: int | None = None
    """Port of gRPC health, 0 a free one; None: it is not served."""
    grpc_host: str = "127.0.0.1"
    """Address to listen on."""

    def __post_init__(self) -> None:
        _check_range("concurrency", self.concurrency, 1, 256)
        _check_range("credit", self.credit, 0, 256)
        _check_range("max rows", self.max_rows, 1, 10_000_000)
        _check_range("timeout", self.timeout_s, 0.01, 3600.0)
        _check_range("scoring limit", self.scoring_limit_s, 0.01, 3600.0)
        _check_range("grpc port", self.grpc_port or 0, 0, 65535)
        if self.far_credentials.uses_tls and not self.to.tls:
            raise InvalidRequestError(
                f"address {self.to} is without TLS, so --ca, --cert and --cert-key mean nothing: write {self.to.scheme}s://"
            )
        self.serving()

    def serving(self) -> ServeOptions:
        """Returns the same as the SDK's options, for what is used of the SDK."""
        return ServeOptions(
            endpoint=self.endpoint,
            name=self.name,
            version=self.version,
            nats=self.nats,
            ack_wait_s=self.ack_wait_s,
            enricher=self.enricher,
            credit=self.credit or min(256, 2 * self.concurrency),
            max_joined_rows=self.max_rows,
        )


def _check_range(what: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidRequestError(
            f"{what} is {value:g}; allowed is {least:g} to {most:g}",
            {"option": what, "actual": value, "least": least, "most": most},
        )
