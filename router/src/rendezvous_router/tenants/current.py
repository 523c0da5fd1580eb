"""Whose work is done at the moment, for the log: a tenant's tasks and the handling of its requests carry its name."""

import os
from contextvars import ContextVar

from rendezvous_router.limits import DEFAULT_TENANT

__all__ = ["current_tenant", "work_for"]

_tenant: ContextVar[str] = ContextVar("tenant")


def work_for(tenant: str) -> None:
    """Says for whom this task, and what it starts, works from now on."""
    _tenant.set(tenant)


def current_tenant() -> str:
    """Returns for whom the present task works; where there are no tenants: what `RENDEZVOUS_TENANT` says."""
    return _tenant.get(None) or os.environ.get("RENDEZVOUS_TENANT", DEFAULT_TENANT)
