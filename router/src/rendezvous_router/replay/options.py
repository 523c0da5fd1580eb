"""What a replay is told: one frozen object each."""

from dataclasses import dataclass, field

from rendezvous_proto.postbox import version_token
from rendezvous_sdk.archive.layout import ArchiveRoot

__all__ = ["ReplayJob", "ReplayLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLimits:
    """How much at a time."""

    concurrency: int = 2
    """Calls of the candidate at one time."""
    piece_rows: int = 1000
    """Rows of a call; a larger request is a call of its own."""
    rate: float | None = None
    """Rows a second; None: as fast as it goes."""
    file_rows: int = 50_000
    """Rows after which they are written."""
    file_s: float = 10.0
    """Seconds after which they are, at the next end of a parcel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayJob:
    """What is to be scored, by whom, and where the scores go."""

    root: ArchiveRoot
    """The archive."""
    tenant: str
    """The tenant."""
    endpoint: str
    """The endpoint."""
    name: str
    """The candidate's name."""
    version: str
    """Its version."""
    since_unix_us: int = 0
    """First moment of the history, microseconds since 1970-01-01 UTC."""
    until_unix_us: int
    """Moment before which it ends."""
    address: str = ""
    """Where the candidate serves `Score`: `host:port`, or `grpc://host:port/model`, `grpcs://...`."""
    command: str = ""
    """Command line of a program that serves it."""
    target: str = ""
    """What is loaded into this process: `package.module:name`, or a file."""
    outputs: str | None = None
    """Names of the output columns of what is loaded, separated by commas."""
    trust_pickle: bool = False
    """Whether files that run code when they are loaded may be loaded."""
    trusted_types: tuple[str, ...] = ()
    """Types that a skops file may contain."""
    run: str = ""
    """Name of the run; empty: made of model and version."""
    resume: bool = False
    """Whether a run of that name goes on."""
    timeout_s: float = 60.0
    """Limit of one call, or of scoring one table."""
    ready_limit_s: float = 60.0
    """Time in which a program must be ready."""
    limits: ReplayLimits = field(default_factory=ReplayLimits)
    """How much at a time."""

    @property
    def run_name(self) -> str:
        """Name of the run."""
        return self.run or f"{self.name}-{version_token(self.version)}"
