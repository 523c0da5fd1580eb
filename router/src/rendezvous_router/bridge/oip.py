"""What is alike in the Open Inference Protocol over gRPC and over REST."""

import time
from collections.abc import Iterable, Sequence

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames import type_number

from rendezvous_router.bridge.address import FarAddress
from rendezvous_router.bridge.errors import BridgeError, FarWaitError
from rendezvous_router.bridge.far import FarColumn, FarInfo

__all__ = ["UnknownModel", "describe_far"]

_GRACE_S = 10.0

Tensor = tuple[str, str, Sequence[int]]
"""Name, datatype and shape of a tensor, the batch first."""


class UnknownModel:
    """A model that the server does not know may still be loading: waited for ten seconds, then given up.

    Args:
        address: where it should be.
    """

    def __init__(self, address: FarAddress) -> None:
        self._address = address
        self._since = 0.0

    def failure(self, details: str) -> BridgeError | FarWaitError:
        """Returns what to raise when the server says that it has no such model."""
        now = time.monotonic()
        self._since = self._since or now
        address = self._address
        version = f" version {address.version}" if address.version else ""
        text = f"{address.target} has no model {address.model!r}{version}: {details}"
        if now - self._since < _GRACE_S:
            return FarWaitError(f"{text} (it may be loading)")
        return BridgeError(f"{text}; check its name and version there")


def describe_far(
    address: FarAddress, *, runtime: str, platform: str, inputs: Iterable[Tensor], outputs: Iterable[Tensor]
) -> FarInfo:
    """Returns what a server's metadata says.

    Args:
        address: where the model is.
        runtime: name and version of the server.
        platform: the model's framework.
        inputs: tensors that it takes; none: not declared.
        outputs: tensors that it gives; none: not declared.

    Raises:
        BridgeError: a datatype is not known here, or the model takes no batches.
    """
    taken = list(inputs)
    sizes = {shape[0] for _, _, shape in taken if shape}
    if not sizes <= {-1, 1}:
        name, _, shape = next(each for each in taken if each[2] and each[2][0] not in (-1, 1))
        raise BridgeError(
            f"the model takes {name!r} in the shape {list(shape)}: its first dimension must be the batch, "
            "-1 (any number of rows) or 1 (one row a call)"
        )
    return FarInfo(
        info=v1.ModelInfo(
            runtime=runtime, description=f"{platform or 'model'} {address.model} of {runtime or 'a server'}"
        ),
        inputs=[_far_column(*each) for each in taken],
        outputs=[_far_column(*each) for each in outputs],
        max_rows=1 if 1 in sizes else None,
    )


def _far_column(name: str, datatype: str, shape: Sequence[int]) -> FarColumn:
    try:
        kind = type_number(datatype) if datatype else 0
    except InvalidFrameError as error:
        raise BridgeError(f"the model declares {name!r} as {datatype}, which cannot be sent: {error}") from error
    return FarColumn(name=name, type=kind, shape=tuple(shape[1:]) if shape else None)
