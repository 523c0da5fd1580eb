"""The cases, one module a group, in the order in which they run: what disturbs the target comes last."""

from rendezvous_router.conformance.cases import (  # isort: skip # the order is that of the run
    service,
    streaming,
    refusals,
    echo,
    registration,
    parcels,
    deadlines,
    traces,
    bad_models,
    lifecycle,
)

__all__ = [
    "bad_models",
    "deadlines",
    "echo",
    "lifecycle",
    "parcels",
    "refusals",
    "registration",
    "service",
    "streaming",
    "traces",
]
