"""How an endpoint's columns become a model's tensors, and its answer the endpoint's columns."""

from dataclasses import dataclass

__all__ = ["MappingSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSpec:
    """A mapping as it was written."""
