"""Panels about models: time, scores, lag, replicas."""

from collections.abc import Sequence

from compose.observability.panels import Panel, Query, quantiles
from compose.observability.queries import BY_ENDPOINT, BY_MODEL, MODEL_NAME, OF_ENDPOINT, OF_MODEL, rate

MODEL_TIME: Sequence[Panel] = (
    Panel(
        title="Time to score",
        says="From the seal of a parcel to the arrival of the model's score.",
        unit="s",
        traces="model",
        width=12,
        queries=quantiles("rendezvous_model_time_seconds", BY_MODEL, OF_MODEL, MODEL_NAME),
    ),
    Panel(
        title="Scoring alone",
        says="What scoring a parcel took, as the model says. The rest of the time to score is waiting and transport.",
        unit="s",
        traces="model",
        width=12,
        queries=quantiles("rendezvous_model_scoring_time_seconds", BY_MODEL, OF_MODEL, MODEL_NAME),
    ),
)
SCORES: Sequence[Panel] = (
    Panel(
        title="Scores",
        says="Scores a second, valid or not.",
        unit="ops",
        traces="model",
        queries=[Query(expr=rate("rendezvous_scores_total", BY_MODEL, OF_MODEL), legend=MODEL_NAME)],
    ),
    Panel(
        title="Failed, invalid, expired",
        says="Scores a second that are errors, by code. INVALID_OUTPUT: the signature does not allow it. "
        "EXPIRED: the deadline had passed before the model began.",
        unit="ops",
        traces="model",
        stacked=True,
        queries=[
            Query(
                expr=rate("rendezvous_scores_total", f"{BY_MODEL}, error_type", f'{OF_MODEL},error_type!=""'),
                legend=f"{MODEL_NAME} {{{{error_type}}}}",
            )
        ],
    ),
    Panel(
        title="Late, lost, stray",
        says="Scores a second that came after the deadline, that never came, and messages that fit no request.",
        unit="ops",
        traces="model",
        queries=[
            Query(expr=rate(f"rendezvous_scores_{kind}_total", BY_MODEL, OF_MODEL), legend=f"{MODEL_NAME} {kind}")
            for kind in ("late", "lost", "stray")
        ],
    ),
    Panel(
        title="Served",
        says="Share of the endpoint's decisions that were answered with this model's score.",
        unit="percentunit",
        most=1.0,
        stacked=True,
        traces="model",
        queries=[
            Query(
                expr=rate("rendezvous_decisions_total", BY_MODEL, OF_MODEL)
                + " / on (rendezvous_tenant, rendezvous_endpoint) group_left () "
                + rate("rendezvous_decisions_total", BY_ENDPOINT, OF_ENDPOINT),
                legend=MODEL_NAME,
            )
        ],
    ),
    Panel(
        title="Lag",
        says="Parcels that wait for the model or are being scored. It should not grow.",
        traces="model",
        queries=[
            Query(
                expr=f"max by ({BY_MODEL}, rendezvous_version) (rendezvous_model_lag{{{OF_MODEL}}})",
                legend=f"{MODEL_NAME}:{{{{rendezvous_version}}}}",
            )
        ],
    ),
    Panel(
        title="Replicas",
        says="Replicas that say they live.",
        traces="model",
        queries=[Query(expr=f"max by ({BY_MODEL}) (rendezvous_model_replicas{{{OF_MODEL}}})", legend=MODEL_NAME)],
    ),
)
