"""What the server and its models say of themselves, whichever door they are asked through."""

from dataclasses import dataclass

from rendezvous.spec import ColumnSpec
from rendezvous_proto.errors import UnknownModelError, shown

from rendezvous_router.app import Router
from rendezvous_router.oip.inputs import KINDS, tensor_shape
from rendezvous_router.oip.live import LiveModels
from rendezvous_router.oip.target import find_target
from rendezvous_router.oip.tensors import datatype_of_type

__all__ = ["EXTENSIONS", "NAME", "About", "TensorAbout", "about_model"]

NAME = "rendezvous"
"""Name of the server."""
EXTENSIONS = ("binary_tensor_data", "parameters", "schedule_policy", "rendezvous_missing", "rendezvous_single_models")
"""Extensions of the protocol that are supported: three of the field's, two of ours (docs/oip.md)."""
ENDPOINT_PLATFORM = "rendezvous_endpoint"
"""Platform of an endpoint: whichever model answers."""
MODEL_PLATFORM = "rendezvous_model"
"""Platform of a single model."""


@dataclass(frozen=True, slots=True)
class TensorAbout:
    """One tensor that is taken or given."""

    name: str
    """Name of the column."""
    datatype: str
    """Datatype."""
    shape: list[int]
    """Shape, -1 for the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a model says of itself."""

    name: str
    """As asked."""
    versions: list[str]
    """Of an endpoint the revision in force, of a single model those with a live replica."""
    platform: str
    """Endpoint or single model."""
    inputs: list[TensorAbout]
    """Tensors that it takes; none: anything."""
    outputs: list[TensorAbout]
    """Tensors that it gives."""


async def about_model(router: Router, live: LiveModels, name: str, version: str) -> About:
    """Returns what the endpoint or single model *name* is.

    Raises:
        InvalidRequestError, UnknownEndpointError, UnknownModelError: as `find_target`; or a single model has no live
            replica of that version.
    """
    target = find_target(router, name, version)
    versions = await live.versions_of(router, target)
    if version and version not in versions:
        raise UnknownModelError(
            f"model {target.model} of {target.what} has no live version {shown(version)!r}; "
            f"live are {', '.join(versions) or 'none'}",
            {"actual": shown(version), "expected": ",".join(versions)},
        )
    spec = target.endpoint.spec
    return About(
        name=name,
        versions=versions,
        platform=MODEL_PLATFORM if target.model else ENDPOINT_PLATFORM,
        inputs=[_tensor(column) for column in spec.inputs],
        outputs=[_tensor(column) for column in spec.outputs],
    )


def _tensor(column: ColumnSpec) -> TensorAbout:
    return TensorAbout(column.name, datatype_of_type(KINDS[column.type]), tensor_shape(column))
