"""The known name that a wrong one may have meant, for messages."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["LONGEST", "nearest_name"]

LONGEST = 64
"""Characters of the longest name that is compared: to compare costs the square of the length."""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Returns the one of *known* that is most like *name*; None: none is, or *name* is too long to be a slip."""
    if len(name) > LONGEST:
        return None
    return next(iter(get_close_matches(name, list(known), n=1)), None)
