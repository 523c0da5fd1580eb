"""What must hold of an endpoint's enrichers."""

from collections.abc import Mapping

from rendezvous._checking_columns import check_columns, check_otherwise
from rendezvous._problems import Problems, nearest
from rendezvous._structs import ColumnSpec, EndpointSpec, EnricherSpec

SHARE_OF_DEADLINE = 0.8
"""What all stages together may take of the deadline; the rest is the models'."""
MAX_STAGES = 9
"""Stages at most; each costs a message that is flushed to disk."""


def check_enrichers(spec: EndpointSpec, deadline_s: float | None, problems: Problems) -> None:
    """Note what is wrong with the enrichers.

    Args:
        spec: A specification whose types are right, and whose names and durations were looked at.
        deadline_s: The policy's deadline in seconds; None: it is no duration, and was noted.
        problems: Collects what is wrong.
    """
    if not spec.enrichers:
        return
    if not spec.inputs:
        problems.add("enrichers", "the endpoint declares no inputs, so added columns could clash; declare them")
    present = {column.name: "inputs" for column in spec.inputs}
    for position, stage in enumerate(spec.enrichment_stages(), start=1):
        _check_stage(spec, stage, position, present, problems)
    _check_budgets(spec, deadline_s, problems)


def _check_stage(
    spec: EndpointSpec, stage: Mapping[str, EnricherSpec], position: int, present: dict[str, str], problems: Problems
) -> None:
    """Checks one stage; *present* says where each column comes from, and learns what the stage adds."""
    seen = list(present)
    for name, enricher in stage.items():
        path = f"enrichers.{name}"
        if name in spec.models:
            problems.add(path, f"{name!r} is a model of the endpoint too; give one of them another name")
        if enricher.stage != position:
            problems.add(f"{path}.stage", f"{enricher.stage}, and no enricher has stage {position}; leave no gap")
        if position > MAX_STAGES:
            problems.add(f"{path}.stage", f"{enricher.stage} is more than the limit of {MAX_STAGES}")
        if not enricher.outputs:
            problems.add(f"{path}.outputs", "empty; declare at least one output column")
        check_columns(f"{path}.outputs", enricher.outputs, problems)
        check_otherwise(f"{path}.otherwise", enricher.otherwise, enricher.outputs, problems)
        for i, needed in enumerate(enricher.inputs or ()):
            if needed not in seen:
                problems.add(
                    f"{path}.inputs[{i}]", f"no column of that name before stage {position}{nearest(needed, seen)}"
                )
    for name, enricher in stage.items():
        _claim_columns(name, enricher.outputs, present, problems)


def _claim_columns(name: str, outputs: list[ColumnSpec], present: dict[str, str], problems: Problems) -> None:
    path = f"enrichers.{name}.outputs"
    for i, column in enumerate(outputs):
        before = present.setdefault(column.name, path)
        if before != path:
            problems.add(f"{path}[{i}].name", f"column {column.name!r} is in {before} already; give it another name")


def _check_budgets(spec: EndpointSpec, deadline_s: float | None, problems: Problems) -> None:
    try:
        stages = [max(each.budget_s for each in stage.values()) for stage in spec.enrichment_stages()]
    except ValueError:
        return  # was noted
    if deadline_s is None or sum(stages) <= SHARE_OF_DEADLINE * deadline_s:
        return
    problems.add(
        "enrichers",
        f"their stages may take {sum(stages) * 1e3:g}ms together, and policy.deadline is {spec.policy.deadline}: "
        f"at most {SHARE_OF_DEADLINE:.0%} of it, so that the models have time; lower the budgets",
    )
