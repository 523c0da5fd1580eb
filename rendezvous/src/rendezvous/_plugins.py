"""Plug-in rules, found by entry point."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

from rendezvous.rule import RuleFactory

GROUP = "rendezvous.policies"


class InstalledRules(Mapping[str, RuleFactory]):
    """Rules installed under the entry point group `rendezvous.policies`, by name.

    The installation is read at the first look-up, a plug-in is imported when it is asked for: an endpoint with
    built-in rules only costs neither.

    Raises:
        ImportError: On look-up, when the plug-in's module or attribute is not there.
    """

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=GROUP)}

    def __getitem__(self, name: str) -> RuleFactory:
        point = self._points[name]
        try:
            factory: RuleFactory = point.load()
        except AttributeError as error:
            raise ImportError(f"{point.value}: {error}") from error
        return factory

    def __contains__(self, name: object) -> bool:
        return name in self._points

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)
