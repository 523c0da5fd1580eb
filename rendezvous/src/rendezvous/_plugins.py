"""Plug-in rules, found by entry point."""

from collections.abc import Mapping
from importlib.metadata import entry_points

from rendezvous._checking_steps import STEP_FIELDS
from rendezvous._structs import EndpointSpec
from rendezvous.rule import RuleFactory

GROUP = "rendezvous.policies"


def find_rules(spec: EndpointSpec) -> Mapping[str, RuleFactory]:
    """Installed plug-in rules, looked up only if a step takes a rule that is not built in."""
    if all(step.take in STEP_FIELDS for step in spec.policy.steps):
        return {}
    asked = {step.take for step in spec.policy.steps}
    return {
        point.name: point.load()
        for point in entry_points(group=GROUP)
        if point.name in asked and point.name not in STEP_FIELDS
    }
