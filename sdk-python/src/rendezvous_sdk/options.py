"""How a model is served and how a client calls: one frozen object each, checked when made."""

import datetime as dt
from dataclasses import dataclass

from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.postbox import DEFAULT_ACK_WAIT_S, check_name, check_version, input_subject, raw_subject

from rendezvous_sdk.credentials import Credentials

DEFAULT_NATS = "nats://127.0.0.1:4222"
MAX_DELIVER = 5
MAX_STAGES = 9
DEFAULT_MAX_ROWS = 1_000_000
_MIN_ACK_WAIT_S = 0.1
_MAX_ACK_WAIT_S = 3600.0
_MIN_SCORING_LIMIT_S = 0.1
_MAX_SCORING_LIMIT_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How one model version is served.

    Raises:
        InvalidRequestError: a name is malformed, a number out of its range, or both doors are closed.
    """

    endpoint: str
    """Endpoint that the model belongs to."""
    name: str
    """The model's name, unique in its endpoint."""
    version: str = "1"
    """The model's version; its replicas share one durable consumer."""
    nats: str = DEFAULT_NATS
    """Address of the NATS server, several separated by commas."""
    credentials: Credentials | None = None
    """Key and certificates for NATS; None: what the environment says."""
    postbox: bool = True
    """Whether to read the endpoint's postbox."""
    grpc: bool = True
    """Whether to serve gRPC."""
    grpc_host: str = "127.0.0.1"
    """Address to listen on."""
    grpc_port: int = 0
    """Port to listen on; 0 takes a free one. Replica *i* takes `grpc_port` + *i*."""
    replicas: int = 1
    """Processes."""
    ack_wait_s: float = DEFAULT_ACK_WAIT_S
    """Seconds without a sign of life after which a parcel goes to another replica; 0.1 to 3600."""
    credit: int = 4
    """Parcels taken from the postbox ahead of scoring; up to 64 while they are scored within 20 ms; 1 stays 1."""
    max_joined_rows: int = 16384
    """Waiting parcels are scored together as one table of at most so many rows."""
    max_rows: int = DEFAULT_MAX_ROWS
    """Most rows of one request or parcel; more are answered TOO_LARGE. 1 to 1,000,000,000."""
    scoring_limit_s: float = 60.0
    """Seconds after which scoring one table is interrupted and answered MODEL_FAILED; 0.1 to 86400."""
    max_message_bytes: int = 4 * 1024 * 1024
    """Largest gRPC message."""
    since: dt.datetime | None = None
    """Moment of the past, with a time zone, from which a version that never read the postbox begins; what was stored
    before this process started is then scored although its deadline has passed. None: it begins now."""

    enricher: int = 0
    """Stage in which it adds columns to the requests before the models see them, as an enricher of the endpoint: 1
    (or True), 2, ...; 0: it is a model."""

    @property
    def subject(self) -> str:
        """Subject of the parcels that it scores."""
        return raw_subject(self.endpoint, int(self.enricher)) if self.enricher else input_subject(self.endpoint)

    def __post_init__(self) -> None:
        check_name("endpoint", self.endpoint)
        check_name("model", self.name)
        _check_range("enricher", self.enricher, 0, MAX_STAGES)
        check_version(self.version)
        _check_range("grpc port", self.grpc_port, 0, 65535)
        _check_range("replicas", self.replicas, 1, 256)
        _check_range("ack wait", self.ack_wait_s, _MIN_ACK_WAIT_S, _MAX_ACK_WAIT_S)
        _check_range("scoring limit", self.scoring_limit_s, _MIN_SCORING_LIMIT_S, _MAX_SCORING_LIMIT_S)
        _check_range("credit", self.credit, 1, 256)
        _check_range("max joined rows", self.max_joined_rows, 1, 10_000_000)
        _check_range("max rows", self.max_rows, 1, 1_000_000_000)
        _check_range("max message bytes", self.max_message_bytes, 1024, 512 * 1024 * 1024)
        if self.since is not None and self.since.tzinfo is None:
            raise InvalidRequestError(f"since is {self.since}, a time without a zone: give it one, UTC for instance")
        if self.since is not None and not self.postbox:
            raise InvalidRequestError("since says where to begin in the postbox, and the postbox is not read")
        if not self.postbox and not self.grpc:
            raise InvalidRequestError("neither the postbox nor gRPC is served: leave one of them on")


def _check_range(what: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidRequestError(
            f"{what} is {value:g}; allowed is {least:g} to {most:g}",
            {"option": what, "actual": value, "least": least, "most": most},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How a client calls."""

    timeout_s: float = 10.0
    """Deadline of a call that names none, seconds, retries included."""
    max_message_bytes: int = 4 * 1024 * 1024
    """Largest gRPC message."""
    first_pause_s: float = 0.02
    """Pause before the first retry; doubles, give or take half."""
    last_pause_s: float = 1.0
    """Longest pause between retries."""
    keepalive_s: float = 30.0
    """Interval of pings on an idle connection while calls are open."""
    max_streamed: int = 64
    """Requests of one `stream` that may be unanswered at one time."""
