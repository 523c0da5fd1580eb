"""The REST front door: endpoints over HTTP, beside gRPC and over the same mailbox path. Reference: docs/rest.md."""

from rendezvous_router.rest.door import REST_PORT, RestDoor

__all__ = ["REST_PORT", "RestDoor"]
