"""The record cut into pieces that fit into memory, by the time at which decisions were stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Piece", "plan_pieces"]

PIECE_REQUESTS = 10_000
"""Requests of a piece, unless one second has more."""
PIECE_ROWS = 100_000
"""Rows of a piece, unless one second has more."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Decisions stored within some seconds."""

    first_s: int
    """First second, since 1970-01-01 UTC."""
    end_s: int
    """First second after it."""
    requests: int
    """Decisions in it."""


def plan_pieces(connection: "DuckDBPyConnection") -> list[Piece]:
    """Returns the pieces of all decisions that the view `decisions` has, in order."""
    found = connection.sql(
        "SELECT CAST(floor(epoch_us(stored_at) / 1000000) AS BIGINT) AS s, count(*), sum(rows) "
        "FROM decisions GROUP BY s ORDER BY s"
    ).fetchall()
    return list(_join(found))


def _join(seconds: list[tuple[int, int, int]]) -> Iterator[Piece]:
    first, requests, rows, end = 0, 0, 0, 0
    for second, more_requests, more_rows in seconds:
        if requests and (requests + more_requests > PIECE_REQUESTS or rows + more_rows > PIECE_ROWS):
            yield Piece(first, end, requests)
            requests = rows = 0
        if not requests:
            first = second
        requests, rows, end = requests + more_requests, rows + more_rows, second + 1
    if requests:
        yield Piece(first, end, requests)
