"""A mapping made ready: what is done to each table on its way to a model and back."""

from collections.abc import Sequence
from typing import Protocol

from rendezvous_proto import v1

from rendezvous_router.bridge.far import FarInfo
from rendezvous_router.bridge.mapping import MappingSpec

__all__ = ["Plan", "make_plan"]


class Plan(Protocol):
    """What is done to each table. May be used by several threads."""

    signature: v1.Signature
    """Columns that are taken from the endpoint and given to it, as far as they are known."""
    wanted: Sequence[str]
    """Names of the model's outputs to ask for; empty: all."""

    def to_far(self, frame: v1.Frame) -> v1.Frame:
        """Returns the table as the model takes it.

        Raises:
            SignatureMismatchError: a column is absent, or has values that the model cannot be given.
        """

    def from_far(self, frame: v1.Frame) -> v1.Frame:
        """Returns the model's answer in the endpoint's columns.

        Raises:
            InvalidOutputError: a column is absent, or cannot be what the endpoint declares.
        """


class _Straight:
    """The endpoint's columns are the model's."""

    def __init__(self, signature: v1.Signature) -> None:
        self.signature = signature
        self.wanted: Sequence[str] = ()

    def to_far(self, frame: v1.Frame) -> v1.Frame:
        return frame

    def from_far(self, frame: v1.Frame) -> v1.Frame:
        return frame


def make_plan(mapping: MappingSpec, far: FarInfo, endpoint: v1.Signature) -> Plan:  # noqa: ARG001 - straight only, so far
    """Returns what is done to each table.

    Args:
        mapping: what was asked for.
        far: what the model says of itself.
        endpoint: the endpoint's own columns; empty: not declared.

    Raises:
        BridgeError: they do not fit; names the column, and what would.
    """
    return _Straight(far.info.signature)
