"""What must hold in a specification beyond its types."""

import math
import re
from collections.abc import Mapping

from rendezvous._checking_columns import check_columns, check_otherwise
from rendezvous._checking_enrichers import check_enrichers
from rendezvous._checking_steps import check_steps
from rendezvous._durations import parse_duration
from rendezvous._problems import Problems
from rendezvous._structs import EndpointSpec
from rendezvous.rule import RuleFactory

MAX_DEADLINE_S = 60.0
MAX_REQUEST_BYTES = 921_600
LEAST_RATE = 0.001
# JetStream keeps ages as 64-bit nanoseconds; a century is well below their end.
MAX_AGE_S = 36_500 * 86_400.0
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_spec(spec: EndpointSpec, rules: Mapping[str, RuleFactory], problems: Problems) -> None:
    """Note everything that contradicts the specification's rules.

    Args:
        spec: A specification whose types are right.
        rules: Plug-in rules by name.
        problems: Collects what is wrong.
    """
    _check_name("endpoint", "endpoint", spec.endpoint, problems)
    check_columns("inputs", spec.inputs, problems)
    check_columns("outputs", spec.outputs, problems)
    if not spec.outputs:
        problems.add("outputs", "empty; declare at least one output column")
    _check_models(spec, problems)
    deadline_s = check_duration("policy.deadline", spec.policy.deadline, problems, above_s=0.0, most_s=MAX_DEADLINE_S)
    check_steps(spec, deadline_s, rules, problems)
    check_otherwise("policy.otherwise", spec.policy.otherwise, spec.outputs, problems)
    for name, enricher in spec.enrichers.items():
        _check_name(f"enrichers.{name}", "enricher", name, problems)
        check_duration(f"enrichers.{name}.budget", enricher.budget, problems, above_s=0.0, most_s=MAX_DEADLINE_S)
    check_enrichers(spec, deadline_s, problems)
    _check_limits(spec, problems)
    _check_postbox(spec, problems)


def check_duration(
    path: str, text: str, problems: Problems, *, above_s: float = -1.0, most_s: float = math.inf
) -> float | None:
    """Note a malformed or out-of-range duration.

    Returns:
        Seconds, or None when a problem was noted.
    """
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        problems.add(path, str(error))
        return None
    if seconds <= above_s:
        problems.add(path, f"{text} is not above {above_s:g}s")
        return None
    if seconds > most_s:
        problems.add(path, f"{text} is more than the limit of {most_s:g}s")
        return None
    return seconds


def _check_name(path: str, kind: str, name: str, problems: Problems) -> None:
    if not _NAME.fullmatch(name):
        problems.add(path, f"{kind} name {name!r} is not 1 to 64 of A-Z a-z 0-9 _ -")


def _check_models(spec: EndpointSpec, problems: Problems) -> None:
    for name, model in spec.models.items():
        _check_name(f"models.{name}", "model", name, problems)
        if not (model.weight > 0 and math.isfinite(model.weight)):
            problems.add(
                f"models.{name}.weight",
                f"{model.weight:g} is not above 0 and finite; a model that must not count is a shadow",
            )
    champions = spec.models_of("champion")
    for name in champions[1:]:
        problems.add(
            f"models.{name}.role",
            f"second champion beside {champions[0]!r}; at most one, the others are challengers",
        )
    if len(spec.models_of("decoy")) == len(spec.models):
        problems.add("models", "no model that scores; name at least one that is not a decoy")


def _check_limits(spec: EndpointSpec, problems: Problems) -> None:
    limits = spec.limits
    for name in ("max_rows", "max_bytes", "max_in_flight"):
        if getattr(limits, name) < 1:
            problems.add(f"limits.{name}", f"{getattr(limits, name)} is less than 1")
    if limits.max_bytes > MAX_REQUEST_BYTES:
        problems.add("limits.max_bytes", f"{limits.max_bytes} is more than a parcel holds, {MAX_REQUEST_BYTES}")
    for what in ("requests", "rows", "bytes"):
        _check_rate(what, getattr(limits, f"{what}_per_s"), getattr(limits, f"{what}_burst"), problems)


def _check_rate(what: str, rate: float | None, burst: int | None, problems: Problems) -> None:
    if rate is not None and not LEAST_RATE <= rate < math.inf:
        problems.add(
            f"limits.{what}_per_s", f"{rate:g} is less than {LEAST_RATE:g}, or not finite; no limit: leave out"
        )
    if burst is not None and burst < 1:
        problems.add(f"limits.{what}_burst", f"{burst} is less than 1")
    if burst is not None and rate is None:
        problems.add(f"limits.{what}_burst", f"given without limits.{what}_per_s; a burst needs its rate")


def _check_postbox(spec: EndpointSpec, problems: Problems) -> None:
    postbox = spec.postbox
    check_duration("postbox.max_age", postbox.max_age, problems, most_s=MAX_AGE_S)
    if not 1 <= postbox.replicas <= 5:
        problems.add("postbox.replicas", f"{postbox.replicas} is not between 1 and 5")
    if postbox.max_bytes < 1 and postbox.max_bytes != -1:
        problems.add("postbox.max_bytes", f"{postbox.max_bytes} is neither above 0 nor -1 (no limit)")
