"""Enrichers as the router works with them: what stands in for their columns, and how much time they may take.

Source: ADR 0027; docs/policy.md, "Enrichers".
"""

from typing import Any

from rendezvous._checking_enrichers import MAX_STAGES, SHARE_OF_DEADLINE
from rendezvous._structs import EnricherSpec
from rendezvous._values import frame_value

__all__ = ["MAX_STAGES", "SHARE_OF_DEADLINE", "default_values", "time_share"]


def default_values(enricher: EnricherSpec) -> dict[str, Any] | None:
    """What stands in for the columns of an enricher, as a frame takes it.

    Args:
        enricher: An enricher of a specification that was checked.

    Returns:
        A value for each of its columns, None for missing; or None where its failure is the request's.
    """
    if isinstance(enricher.otherwise, str):
        return None
    return {column.name: frame_value(column, enricher.otherwise[column.name]) for column in enricher.outputs}


def time_share(total_s: float, left_s: float) -> float:
    """By which factor budgets are cut, so that the models have time where a client has little.

    Args:
        total_s: Budgets of all stages, seconds.
        left_s: What is left to the deadline, seconds.

    Returns:
        1, or less where all stages would take more than `SHARE_OF_DEADLINE` of what is left; never below 0.
    """
    return max(0.0, min(1.0, SHARE_OF_DEADLINE * left_s / total_s))
