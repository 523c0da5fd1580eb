"""Panels about endpoints: requests, decisions, time."""

from collections.abc import Sequence

from compose.observability.panels import Panel, Query, quantiles
from compose.observability.queries import (
    BY_ENDPOINT,
    BY_MODEL,
    FALLBACK,
    MODEL_NAME,
    NAME,
    OF_ENDPOINT,
    rate,
    share,
    share_above,
)

REQUESTS: Sequence[Panel] = (
    Panel(
        title="Requests",
        says="Requests that ended, a second, by how.",
        unit="reqps",
        stacked=True,
        queries=[
            Query(
                expr=rate("rendezvous_requests_total", f"{BY_ENDPOINT}, rendezvous_outcome", OF_ENDPOINT),
                legend=f"{NAME} {{{{rendezvous_outcome}}}}",
            )
        ],
    ),
    Panel(
        title="Errors and refusals",
        says="Requests that ended with an error, a second, by its code. OVERLOADED: no more are admitted.",
        unit="reqps",
        stacked=True,
        queries=[
            Query(
                expr=rate("rendezvous_requests_total", f"{BY_ENDPOINT}, error_type", f'{OF_ENDPOINT},error_type!=""'),
                legend=f"{NAME} {{{{error_type}}}}",
            )
        ],
    ),
    Panel(
        title="In flight",
        says="Requests accepted and not yet answered, over all routers.",
        queries=[
            Query(
                expr=f"sum by ({BY_ENDPOINT}) (rendezvous_requests_in_flight{{{OF_ENDPOINT}}})",
                legend=NAME,
            )
        ],
    ),
)
DECISIONS: Sequence[Panel] = (
    Panel(
        title="Decisions by rule",
        says="Which rule of the policy decided: a step, the canary, `otherwise`, a forced model, or none.",
        unit="reqps",
        stacked=True,
        queries=[
            Query(
                expr=rate("rendezvous_decisions_total", f"{BY_ENDPOINT}, rendezvous_rule", OF_ENDPOINT),
                legend=f"{NAME} {{{{rendezvous_rule}}}}",
            )
        ],
    ),
    Panel(
        title="Decisions by model",
        says="Whose answer was served; without a name: nobody's.",
        unit="reqps",
        stacked=True,
        queries=[Query(expr=rate("rendezvous_decisions_total", BY_MODEL, OF_ENDPOINT), legend=MODEL_NAME)],
    ),
    Panel(
        title="Fallbacks",
        says="Share of the decisions in which no step of the policy succeeded. Above the line an alert fires.",
        unit="percentunit",
        limit=0.05,
        queries=[
            Query(
                expr=share("rendezvous_decisions_total", BY_ENDPOINT, f"{OF_ENDPOINT},{FALLBACK}", OF_ENDPOINT),
                legend=NAME,
            )
        ],
    ),
)
TIME: Sequence[Panel] = (
    Panel(
        title="Time to decision",
        says="From a request's acceptance to its decision.",
        unit="s",
        queries=quantiles("rendezvous_decision_time_seconds", BY_ENDPOINT, OF_ENDPOINT, NAME),
    ),
    Panel(
        title="Time to answer",
        says="From a request's acceptance to its answer or error; includes the acknowledgement by JetStream.",
        unit="s",
        queries=quantiles("rpc_server_call_duration_seconds", BY_ENDPOINT, OF_ENDPOINT, NAME),
    ),
    Panel(
        title="Deadline used",
        says="Share of a request's time that had gone when it was decided.",
        unit="percentunit",
        most=1.0,
        queries=quantiles("rendezvous_deadline_used_ratio", BY_ENDPOINT, OF_ENDPOINT, NAME),
    ),
    Panel(
        title="Near the deadline",
        says="Share of the decisions that took more than half, and more than 90 %, of the request's time.",
        unit="percentunit",
        queries=[
            Query(
                expr=share_above(bound, "rendezvous_deadline_used_ratio", BY_ENDPOINT, OF_ENDPOINT),
                legend=f"{NAME} above {name}",
            )
            for bound, name in (("0.5", "50 %"), ("0.9", "90 %"))
        ],
    ),
    Panel(
        title="Deadline budget spent",
        says="Late or fallback decisions of the last hour and six hours; 1 % is allowed. Above the line: an alert.",
        unit="percentunit",
        limit=0.144,
        queries=[
            Query(
                expr=f"endpoint:rendezvous_deadline_budget_spent:ratio_rate{window}{{{OF_ENDPOINT}}}",
                legend=f"{NAME} {window}",
            )
            for window in ("1h", "6h")
        ],
    ),
    Panel(
        title="Revision in force",
        says="Revision of the specification. Two lines for one endpoint: routers disagree, for a moment.",
        queries=[
            Query(
                expr=f"max by ({BY_ENDPOINT}, instance) (rendezvous_endpoint_revision{{{OF_ENDPOINT}}})",
                legend=f"{NAME} {{{{instance}}}}",
            )
        ],
    ),
)
