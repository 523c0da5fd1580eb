"""Names of the protocol: an endpoint is a model, and `<endpoint>/<model>` is one of its models."""

from dataclasses import dataclass

from rendezvous_proto.errors import InvalidRequestError, UnknownModelError, shown
from rendezvous_proto.v1 import Diagnostics, ScoreRequest

from rendezvous_router.admission import forced_model, no_endpoint
from rendezvous_router.app import Router
from rendezvous_router.endpoint import Endpoint

__all__ = ["Target", "find_target"]


@dataclass(slots=True, frozen=True)
class Target:
    """What a name of the protocol stands for."""

    endpoint: Endpoint
    """The endpoint, as it is now."""
    model: str
    """The single model that is asked; empty: the endpoint, whose policy decides."""

    @property
    def what(self) -> str:
        """The endpoint, for messages."""
        return f"endpoint {self.endpoint.name}"


def find_target(router: Router, name: str, version: str) -> Target:
    """Returns what is asked.

    Args:
        router: of the caller's tenant.
        name: `credit`, or `credit/boosted`.
        version: revision of an endpoint's specification, empty: the one in force. Of a single model it is
            not looked at here: only its answer tells.

    Raises:
        InvalidRequestError: no name.
        UnknownEndpointError: there is no such endpoint.
        UnknownModelError: the endpoint has no such model, or has another revision in force.
    """
    if not name:
        raise InvalidRequestError("model name: not given: name an endpoint, or one of its models as endpoint/model")
    endpoint_name, slash, model = name.partition("/")
    desk = router.desks.get(endpoint_name)
    if desk is None:
        raise no_endpoint(endpoint_name or name, router.desks)
    endpoint = desk.endpoint
    if slash:
        if not model:
            raise UnknownModelError(f"model name {shown(name)!r} ends after the slash: name a model of the endpoint")
        forced_model(ScoreRequest(diagnostics=Diagnostics(force_model=model)), endpoint)
    elif version and version != str(endpoint.revision):
        raise UnknownModelError(
            f"endpoint {endpoint.name} has no version {shown(version)!r}: revision {endpoint.revision} is in force; "
            "ask for that, or for none",
            {"expected": endpoint.revision, "actual": shown(version)},
        )
    return Target(endpoint, model)
