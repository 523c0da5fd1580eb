"""Identities of requests, parcels, routers and replicas."""

from uuid_utils import uuid7

__all__ = ["new_id"]


def new_id() -> str:
    """Returns a new UUID version 7 as canonical text: 36 characters, lower case, sortable by time of making.

    Thread safety: may be called from any thread. Source: RFC 9562, section 5.7.
    """
    return str(uuid7())
