"""Problems found in a specification, and the error that reports them."""

import difflib
from collections.abc import Iterable


class SpecError(ValueError):
    """An endpoint specification is not valid.

    Its text has one line for each problem, `path: message`.

    Attributes:
        path: Path of the first problem (`policy.steps[1].until`); empty: the whole document.
        message: What is wrong there and what to do.
        problems: All (path, message) pairs, in the order of the document's sections.
    """

    def __init__(self, path: str, message: str, *, more: Iterable[tuple[str, str]] = ()) -> None:
        self.path = path
        self.message = message
        self.problems = ((path, message), *more)
        super().__init__("\n".join(f"{where or 'spec'}: {what}" for where, what in self.problems))


class Problems:
    """Collects problems, so that one run reports them all."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, path: str, message: str) -> None:
        """Note a problem at a path."""
        self.found.append((path, message))

    def check(self) -> None:
        """Raise SpecError if anything was noted."""
        if self.found:
            (path, message), *more = self.found
            raise SpecError(path, message, more=more)


def nearest(word: str, known: Iterable[str]) -> str:
    """End of a message: the nearest known word, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f", did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
