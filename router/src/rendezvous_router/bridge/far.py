"""What a bridge asks of a model server, whatever it speaks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rendezvous_proto import v1

from rendezvous_router.bridge.address import FarAddress

__all__ = ["CallContext", "Far", "FarColumn", "FarInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FarColumn:
    """A column or tensor that the model takes or gives, its batch dimension left out."""

    name: str
    """Its name there."""
    type: int = 0
    """Number of its type; 0: not declared."""
    shape: tuple[int, ...] | None = None
    """Shape of one row's value, -1 for a dimension of any size; None: not declared."""
    allow_missing: bool = False
    """Whether rows may be missing."""
    allow_nan: bool = True
    """Whether floating-point elements may be NaN or infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FarInfo:
    """What a model server says of its model."""

    info: v1.ModelInfo
    """Language, runtime, task and whatever else it tells; name, version, signature and sdk are the bridge's to set."""
    inputs: Sequence[FarColumn] = ()
    """What it takes; empty: not declared."""
    outputs: Sequence[FarColumn] = ()
    """What it gives; empty: not declared."""
    carries_missing: bool = False
    """Whether missing rows can be sent to it at all."""
    tells_text: bool = False
    """Whether it tells text from bytes; if not, bytes that nobody declares are taken for text."""
    max_rows: int | None = None
    """Most rows of one call; None: any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """What travels with a call beside its rows."""

    traceparent: str = ""
    """W3C `traceparent` of the first request that has one."""
    tracestate: str = ""
    """Its `tracestate`."""
    provenance: Sequence[v1.Provenance] = field(default_factory=tuple)
    """Components that touched that request, this bridge last."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Trace context as metadata of a call, or headers of a request."""
        if not self.traceparent:
            return ()
        pairs = [("traceparent", self.traceparent)]
        return (*pairs, ("tracestate", self.tracestate)) if self.tracestate else tuple(pairs)


class Far(Protocol):
    """A model on a server. Blocking; `call` from any number of threads at a time."""

    address: FarAddress
    """Where it is."""

    def describe(self, timeout_s: float) -> FarInfo:
        """Returns what the model says of itself.

        Raises:
            FarWaitError: the server is not there, or the model is not ready yet.
            BridgeError: something else is there, or the model is not.
        """

    def check(self, timeout_s: float) -> None:
        """Returns if the model is well.

        Raises:
            FarSilentError: no answer in time.
            FarWaitError: it is not well, or not there.
        """

    def call(self, frame: v1.Frame, context: CallContext, outputs: Sequence[str], timeout_s: float) -> v1.Frame:
        """Scores rows.

        Args:
            frame: columns as the model takes them.
            context: travels along.
            outputs: names of the columns that are wanted, where the server is to be told; empty: all.
            timeout_s: deadline of the call, seconds.

        Returns:
            What the model gave: well-formed, otherwise unchecked.

        Raises:
            UnavailableError: the connection was lost or refused; the model has not answered.
            OverloadedError: the server takes no more calls at this moment.
            RendezvousError: anything else, which is the model's answer to these rows.
        """

    def close(self) -> None:
        """Closes the connection."""
