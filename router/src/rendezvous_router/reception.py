"""Who asks: every door shows a request's credentials here, and is told whose router answers.

One `Router` serves one tenant. Nothing but the key says which tenant a caller belongs to: no header, no path, no field
of a request. So what belongs to another tenant cannot even be named; an unknown endpoint and a foreign one
are the same.
"""

import time
from dataclasses import dataclass

from rendezvous_proto.errors import PermissionDeniedError, UnauthenticatedError, UnavailableError
from rendezvous_proto.keys import parse_bearer

from rendezvous_router.app import Router
from rendezvous_router.tenants.current import work_for
from rendezvous_router.tenants.keys import CONTROL, FEEDBACK, SCORE
from rendezvous_router.tenants.register import DEFAULT_TENANT
from rendezvous_router.tenants.routers import TenantRouters

__all__ = ["CONTROL", "FEEDBACK", "SCORE", "Caller", "Reception"]

_EVERYTHING = frozenset({SCORE, FEEDBACK, CONTROL})


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose credentials were accepted."""

    tenant: str
    """Whose endpoints are meant."""
    key_id: str
    """Public part of the key; empty where none is asked for."""
    scopes: frozenset[str]
    """What the key allows."""
    router: Router
    """The tenant's router."""

    def demand(self, scope: str) -> Router:
        """Returns the tenant's router, if the key allows what *scope* says.

        Raises:
            PermissionDeniedError: it does not.
        """
        if scope not in self.scopes:
            raise PermissionDeniedError(
                f"this key has no scope {scope!r}: its scopes are {', '.join(sorted(self.scopes))}; "
                "ask the operator for a key that has it",
                {"scope": scope},
            )
        return self.router


class Reception:
    """Tells callers apart. Where there is one tenant and no keys, everybody is its caller.

    Args:
        routers: one for each tenant.
    """

    def __init__(self, routers: TenantRouters) -> None:
        self._routers = routers

    @property
    def asks_for_keys(self) -> bool:
        """Whether callers must show a key."""
        return self._routers.keys is not None

    def admit(self, authorization: str | None) -> Caller:
        """Returns who shows these credentials.

        Args:
            authorization: the header or metadata `authorization` as received (`Bearer rv_...`); None: there is none.

        Raises:
            UnauthenticatedError: a key is asked for, and this is none, or none that is valid now.
            UnavailableError: the tenant's router is not ready.
        """
        keys = self._routers.keys
        if keys is None:
            return Caller(DEFAULT_TENANT, "", _EVERYTHING, self._router(DEFAULT_TENANT))
        holder = keys.find(parse_bearer(authorization), time.time())
        if holder is None:
            raise UnauthenticatedError(
                "a valid key is needed: send `authorization: Bearer rv_...`; one that is unknown, revoked or expired "
                "is none"
            )
        work_for(holder.tenant)
        return Caller(holder.tenant, holder.record.id, frozenset(holder.record.scopes), self._router(holder.tenant))

    def _router(self, tenant: str) -> Router:
        router = self._routers.by_tenant.get(tenant)
        if router is None:
            raise UnavailableError("the router is not connected to nats-server yet: retry")
        return router
