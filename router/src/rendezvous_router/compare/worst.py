"""The rows on which two models disagree most, with what they were given."""

import math
from typing import Any

import duckdb
from rendezvous.statistics import Smallest
from rendezvous_sdk.archive.reader import Archive
from rendezvous_sdk.archive.schema import signature_of
from rendezvous_sdk.archive.sql_text import names

from rendezvous_router.compare.pairs import Vocabulary
from rendezvous_router.compare.results import WorstRow
from rendezvous_router.compare.tally import Target

__all__ = ["find_worst"]


def find_worst(archive: Archive, kept: Smallest | None, vocabulary: Vocabulary, target: Target) -> list[WorstRow]:
    """Returns the kept rows, farthest apart first, with request ids and inputs from the archive."""
    if kept is None or not kept.count:
        return []
    columns = kept.columns
    places = [int(each) for each in columns["place"]]
    parcels = sorted({int(each) for each in columns["parcel"]})
    ids = _ids(archive.connection, places, parcels)
    inputs = _inputs(archive, places, parcels)
    labels = vocabulary.names
    rows = []
    for number, place in enumerate(places):
        one = {key: column[number] for key, column in columns.items()}
        request_id, row = ids[place]
        rows.append(
            WorstRow(
                request_id=request_id,
                row=row,
                asked_unix_us=int(one["asked_us"]),
                first=_said(one["first"], one["first_label"], labels),
                second=_said(one["second"], one["second_label"], labels),
                apart=float(one["apart"]),
                truth=_truth(float(one["truth"]), labels, target),
                inputs=inputs.get(place, {}),
            )
        )
    return rows


def _said(score: Any, label: Any, labels: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {} if math.isnan(score) else {"score": float(score)}
    return said | ({"label": labels[label]} if label >= 0 else {})


def _truth(truth: float, labels: list[str], target: Target) -> Any:
    if math.isnan(truth):
        return None
    if not target.is_text:
        return truth
    if truth == Vocabulary.NEGATIVE and target.positive is not None:
        return f"not {labels[target.positive]}"
    return labels[int(truth)] if truth >= 0 else None


def _ids(connection: duckdb.DuckDBPyConnection, places: list[int], parcels: list[int]) -> dict[int, tuple[str, int]]:
    found = connection.execute(
        "SELECT DISTINCT hash(request_id, row), request_id, row FROM scores "  # noqa: S608 # numbers
        f"WHERE parcel_sequence IN ({_numbers(parcels)}) AND hash(request_id, row) IN ({_numbers(places)})"
    ).fetchall()
    return {place: (request_id, row) for place, request_id, row in found}


def _inputs(archive: Archive, places: list[int], parcels: list[int]) -> dict[int, dict[str, Any]]:
    signature = signature_of(archive.dataset("inputs").schema)
    if not signature:
        return {}
    found = archive.connection.execute(
        f"SELECT hash(request_id, row) AS place, {names(signature)} FROM inputs "  # noqa: S608 # quoted names, numbers
        f"WHERE stream_sequence IN ({_numbers(parcels)}) AND hash(request_id, row) IN ({_numbers(places)})"
    ).fetchall()
    told = [each.name for each in signature.values()]
    return {row[0]: dict(zip(told, row[1:], strict=True)) for row in found}


def _numbers(values: list[int]) -> str:
    return ", ".join(map(str, values))
