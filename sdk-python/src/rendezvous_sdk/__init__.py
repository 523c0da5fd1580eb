"""Rendezvous for Python: publish a model in three lines, call an endpoint in two.

Publish::

    from rendezvous_sdk import serve

    def score(applicants):
        return {"default_probability": 0.5 * (applicants["duration_months"] > 24)}

    serve(score, endpoint="credit", name="rule")

Call::

    with Client("127.0.0.1:8001", endpoint="credit") as client:
        answer = client.score({"duration_months": [12, 48]})

And months later::

        client.record(Outcome.truth(1, request_id=answer.request_id, row=0))
"""

from rendezvous_proto.frames import FrameView

from rendezvous_sdk.answer import Answer
from rendezvous_sdk.async_client import AsyncClient
from rendezvous_sdk.client import Client
from rendezvous_sdk.errors import ErrorCode, RendezvousError
from rendezvous_sdk.model import Model, as_model, model
from rendezvous_sdk.options import ClientOptions, ServeOptions
from rendezvous_sdk.outcome import Outcome
from rendezvous_sdk.serve import serve

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "ClientOptions",
    "ErrorCode",
    "FrameView",
    "Model",
    "Outcome",
    "RendezvousError",
    "ServeOptions",
    "as_model",
    "model",
    "serve",
]
