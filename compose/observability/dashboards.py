"""The three dashboards: endpoints, models, postbox and record."""

from collections.abc import Mapping

from grafana_foundation_sdk.models.dashboard import Dashboard

from compose.observability import endpoint_panels, model_panels, postbox_panels
from compose.observability.panels import ENDPOINT, MODEL, dashboard


def dashboards() -> Mapping[str, Dashboard]:
    """Returns the dashboards by the name of their file."""
    return {
        "endpoints": dashboard(
            uid="rendezvous-endpoints",
            title="Rendezvous: endpoints",
            says="What is asked, what is answered, by which rule, and how near to the deadline.",
            variables=[ENDPOINT],
            rows=[
                ("Requests", endpoint_panels.REQUESTS),
                ("Decisions", endpoint_panels.DECISIONS),
                ("Time", endpoint_panels.TIME),
            ],
        ),
        "models": dashboard(
            uid="rendezvous-models",
            title="Rendezvous: models",
            says="How fast and how well each model scores, and whether it keeps up.",
            variables=[ENDPOINT, MODEL],
            rows=[("Time", model_panels.MODEL_TIME), ("Scores", model_panels.SCORES)],
        ),
        "postbox-and-record": dashboard(
            uid="rendezvous-postbox",
            title="Rendezvous: postbox and record",
            says="Parcels on their way into the postbox, the archive, the record, and the observers themselves.",
            variables=[ENDPOINT],
            rows=[
                ("Postbox", postbox_panels.POSTBOX),
                ("Record", postbox_panels.RECORD),
                ("Observers", postbox_panels.OBSERVERS),
            ],
        ),
    }
