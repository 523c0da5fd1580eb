"""Which models the archive has scores of, and how these are cut into slices that fit into memory."""

import difflib
from dataclasses import dataclass

import duckdb
from rendezvous_sdk.archive.sql_text import text, texts

from rendezvous_router.compare.question import CompareError

__all__ = ["Census", "Side", "Slice"]

_BIN = 4096
SLICE_SCORES = 500_000
"""About how many scores of one model are in memory at once, and as many of the other."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models: which of the archive's scores are its."""

    asked: str
    """As the user named it."""
    model: str
    """Name."""
    versions: tuple[str, ...]
    """All versions that count."""
    is_live: bool
    """Whether its scores were made when the request came; else by replays."""

    @property
    def condition(self) -> str:
        """The scores, as a condition in SQL."""
        origin = "origin = 'live'" if self.is_live else "origin <> 'live'"
        return f"(model = {text(self.model)} AND version IN {_tuple(self.versions)} AND {origin})"


@dataclass(frozen=True, slots=True)
class Slice:
    """Parcels that are compared together; all scores of a request are in one."""

    first: int
    """First stream sequence."""
    last: int
    """Last stream sequence."""

    @property
    def condition(self) -> str:
        """Scores about its parcels, as a condition in SQL."""
        return f"parcel_sequence BETWEEN {self.first} AND {self.last}"


@dataclass(frozen=True, slots=True)
class _Count:
    model: str
    version: str
    is_live: bool
    bin: int
    scores: int
    last_row: int
    first_us: int
    last_us: int

    def is_of(self, side: Side) -> bool:
        return self.model == side.model and self.version in side.versions and self.is_live == side.is_live


class Census:
    """Counts of scores by model, version, origin and place in the stream.

    Args:
        connection: to an archive's views.
        condition: which scores are counted, in SQL; they are in time.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, condition: str = "true") -> None:
        asked = "epoch_us(stored_at) - coalesce(after_us, 0)"
        rows = connection.execute(
            f"SELECT model, version, origin = 'live', parcel_sequence // {_BIN}, count(*), max(row), "  # noqa: S608
            f"min({asked}), max({asked}) FROM scores WHERE row IS NOT NULL AND {condition} GROUP BY ALL"
        ).fetchall()
        self._counts = [_Count(*row) for row in rows if row[3] is not None]

    @property
    def models(self) -> list[str]:
        """Names and versions that there are scores of: `name:version`."""
        return sorted({f"{each.model}:{each.version}" for each in self._counts})

    def choose(self, asked: str) -> Side:
        """Returns the scores that a user means.

        Live scores where there are any; else those of replays.

        Raises:
            CompareError: there are none; names the nearest model that there is.
        """
        name, _, version = asked.partition(":")
        found = [each for each in self._counts if each.model == name and version in ("", each.version)]
        if not found:
            raise CompareError(self._unknown(asked, name))
        is_live = any(each.is_live for each in found)
        versions = sorted({each.version for each in found if each.is_live == is_live})
        return Side(asked, name, tuple(versions), is_live)

    def _unknown(self, asked: str, name: str) -> str:
        if not self._counts:
            return "the archive has no scores of that time: give another --since or --until"
        names = sorted({each.model for each in self._counts})
        known = self.models if name in names else names
        near = difflib.get_close_matches(asked if name in names else name, known, n=1, cutoff=0.0)
        return (
            f"the archive has no scores of {asked!r} in that time; the nearest it has is {near[0]!r}, of "
            f"{', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"
        )

    def span_us(self, sides: tuple[Side, Side]) -> tuple[int, int]:
        """Returns when the first and the last request were stored, as far as live scores tell; else the scores."""
        found = [each for each in self._counts if any(each.is_of(side) for side in sides)]
        found = [each for each in found if each.is_live] or found
        return min(each.first_us for each in found), max(each.last_us for each in found)

    def have_one_row(self, sides: tuple[Side, Side]) -> bool:
        """Returns whether each request of both has one row."""
        return not any(each.last_row for each in self._counts if any(each.is_of(side) for side in sides))

    def slices(self, sides: tuple[Side, Side]) -> list[Slice]:
        """Returns slices that hold all scores of both, in order, each about `SLICE_SCORES` of the larger side."""
        by_bin: dict[int, list[int]] = {}
        for each in self._counts:
            for number, side in enumerate(sides):
                if each.is_of(side):
                    by_bin.setdefault(each.bin, [0, 0])[number] += each.scores
        slices: list[Slice] = []
        held = [0, 0]
        begin: int | None = None
        for place in sorted(by_bin):
            more = by_bin[place]
            if begin is not None and max(held[0] + more[0], held[1] + more[1]) > SLICE_SCORES:
                slices.append(Slice(begin * _BIN, place * _BIN - 1))
                begin, held = None, [0, 0]
            begin = place if begin is None else begin
            held = [held[0] + more[0], held[1] + more[1]]
        if begin is not None:
            slices.append(Slice(begin * _BIN, max(by_bin) * _BIN + _BIN - 1))
        return slices


def _tuple(values: tuple[str, ...]) -> str:
    return f"(SELECT unnest({texts(values)}))" if len(values) > 50 else f"({', '.join(map(text, values))})"
