"""Who asks: every door shows a request's credentials here, and is told whose router answers.

One `Router` serves one tenant. Nothing but the key says which tenant a caller belongs to: no header, no path, no field
of a request. So what belongs to another tenant cannot even be named; an unknown endpoint and a foreign one
are the same.
"""

from dataclasses import dataclass

from rendezvous_proto.errors import PermissionDeniedError

from rendezvous_router.app import Router

__all__ = ["CONTROL", "DEFAULT_TENANT", "FEEDBACK", "SCORE", "Caller", "Reception"]

DEFAULT_TENANT = "default"
"""The tenant of an installation that has no others and asks for no keys."""
SCORE = "score"
"""Scope: ask endpoints for scores, and for what they are."""
FEEDBACK = "feedback"
"""Scope: report outcomes."""
CONTROL = "control"
"""Scope: change specifications, read the record."""


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
        router: the router of the only tenant.
    """

    def __init__(self, router: Router) -> None:
        self._anyone = Caller(DEFAULT_TENANT, "", frozenset({SCORE, FEEDBACK, CONTROL}), router)

    def admit(self, authorization: str | None) -> Caller:  # noqa: ARG002 # no keys are asked for
        """Returns who shows these credentials.

        Args:
            authorization: the header or metadata `authorization` as received (`Bearer rv_...`); None: there is none.

        Raises:
            UnauthenticatedError: a key is asked for, and this is none, or none that is valid now.
        """
        return self._anyone
