"""Endpoint specification: what an endpoint is asked, by which models, under which policy.

A specification is a plain document (YAML, JSON). `parse_spec` turns it into an `EndpointSpec` or refuses it
with a `SpecError` that names every problem's path. The reference is docs/policy.md; `endpoint.schema.json`
beside this module is generated from the structs.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from rendezvous._checking import check_spec
from rendezvous._durations import parse_duration
from rendezvous._plugins import InstalledRules
from rendezvous._problems import Problems, SpecError
from rendezvous._reading import read_struct
from rendezvous._structs import (
    ColumnSpec,
    EndpointSpec,
    EnricherSpec,
    LimitsSpec,
    ModelSpec,
    PolicySpec,
    PostboxSpec,
    RoleName,
    StepSpec,
    TypeName,
)
from rendezvous.rule import RuleFactory

__all__ = [
    "ColumnSpec",
    "EndpointSpec",
    "EnricherSpec",
    "LimitsSpec",
    "ModelSpec",
    "PolicySpec",
    "PostboxSpec",
    "RoleName",
    "SpecError",
    "StepSpec",
    "TypeName",
    "parse_duration",
    "parse_spec",
    "schema_text",
    "spec_to_dict",
]


def parse_spec(data: Mapping[str, Any], *, rules: Mapping[str, RuleFactory] | None = None) -> EndpointSpec:
    """Read and check an endpoint specification.

    Args:
        data: The document as plain mappings, lists and scalars.
        rules: Plug-in rules by name; None: those installed under the entry point group `rendezvous.policies`.

    Returns:
        The specification; every reference in it is known to hold.

    Raises:
        SpecError: Something is wrong; `problems` has every path and message that could be told at once.
    """
    problems = Problems()
    spec = read_struct(EndpointSpec, data, "", problems)
    problems.check()
    check_spec(spec, InstalledRules() if rules is None else rules, problems)
    problems.check()
    return spec  # type: ignore[no-any-return] # read_struct gives the class that it was asked for


def spec_to_dict(spec: EndpointSpec) -> dict[str, Any]:
    """The specification as a plain document; `parse_spec` of it gives an equal specification."""
    document: dict[str, Any] = msgspec.to_builtins(spec)
    return document


def schema_text() -> str:
    """JSON Schema of the specification, as kept in `endpoint.schema.json`."""
    schema = msgspec.json.schema(EndpointSpec)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2) + "\n"
