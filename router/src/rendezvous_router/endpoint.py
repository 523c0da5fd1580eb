"""An endpoint as the router works with it: one revision of its specification, compiled."""

from dataclasses import dataclass

import msgspec
from rendezvous.policy import Policy, compile_policy
from rendezvous.spec import EndpointSpec, spec_to_dict
from rendezvous_proto.v1 import ModelInfo, Role, Signature

from rendezvous_router.checker import FrameChecker
from rendezvous_router.enrichment_plan import EnrichmentPlan, compile_enrichment, make_column

_ROLES = {
    "champion": Role.ROLE_CHAMPION,
    "challenger": Role.ROLE_CHALLENGER,
    "canary": Role.ROLE_CANARY,
    "shadow": Role.ROLE_SHADOW,
}


@dataclass(slots=True, frozen=True)
class Endpoint:
    """One revision of an endpoint; requests keep the one under which they were accepted."""

    name: str
    """Name of the endpoint."""
    revision: int
    """Revision of the specification in the key-value bucket."""
    spec: EndpointSpec
    """The specification."""
    policy: Policy
    """Its policy, compiled."""
    inputs: FrameChecker
    """Accepts the frames of clients."""
    outputs: FrameChecker
    """Accepts the frames of models."""
    info: ModelInfo
    """What Describe answers."""
    roles: dict[str, Role]
    """Role of each model that scores."""
    enrichment: EnrichmentPlan | None = None
    """Its enrichers; None: it has none."""

    def document(self) -> str:
        """Returns the specification as JSON."""
        return msgspec.json.encode(spec_to_dict(self.spec)).decode()


def compile_endpoint(spec: EndpointSpec, revision: int) -> Endpoint:
    """Returns *spec* ready for work, as *revision*."""
    inputs = [make_column(column) for column in spec.inputs]
    outputs = [make_column(column) for column in spec.outputs]
    info = ModelInfo(
        name=spec.endpoint,
        version=str(revision),
        signature=Signature(inputs=inputs, outputs=outputs),
        description=spec.description,
        sdk="rendezvous-router",
    )
    return Endpoint(
        name=spec.endpoint,
        revision=revision,
        spec=spec,
        policy=compile_policy(spec),
        inputs=FrameChecker(inputs, what=f"inputs of endpoint {spec.endpoint}"),
        outputs=FrameChecker(outputs, what=f"outputs of endpoint {spec.endpoint}"),
        info=info,
        roles={name: _ROLES[model.role] for name, model in spec.models.items() if model.role in _ROLES},
        enrichment=compile_enrichment(spec),
    )
