"""Makes rows of messages; one that cannot be made rows of is kept as it is, and never stops the others."""

import dataclasses
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
from rendezvous_proto.errors import RendezvousError

from rendezvous_router.archive.messages import Declared, Taken
from rendezvous_router.archive.parcel_facts import ParcelFacts, ParcelKey
from rendezvous_router.archive.score_tables import scores_tables
from rendezvous_router.archive.tables import decisions_tables, feedback_table, inputs_tables, junk_table

__all__ = ["durable_rows", "score_rows"]

_log = logging.getLogger(__name__)

Tables = list[tuple[str, pa.Table]]
_FAULTS = (pa.ArrowException, RendezvousError, ArithmeticError, LookupError, TypeError, ValueError)


def durable_rows(messages: Sequence[Taken], declared: Declared) -> Tables:
    """Returns (kind, rows) of parcels, decisions and feedback."""
    by_kind: dict[str, list[Taken]] = defaultdict(list)
    for each in messages:
        by_kind[each.kind].append(each)
    return [table for kind, group in by_kind.items() for table in _kept(group, lambda some: _durable(some, declared))]


def score_rows(messages: Sequence[Taken], declared: Declared, parcels: Mapping[ParcelKey, ParcelFacts]) -> Tables:
    """Returns (kind, rows) of scores."""
    return _kept(messages, lambda some: scores_tables(some, declared, parcels))


def _durable(messages: Sequence[Taken], declared: Declared) -> Tables:
    kind = messages[0].kind
    if kind == "decisions":
        tables = decisions_tables(messages, declared)
    elif kind == "feedback":
        tables = feedback_table(messages, declared)
    else:
        tables = inputs_tables(kind, messages, declared)
    return [(kind, table) for table in tables]


def _kept(messages: Sequence[Taken], build: Callable[[Sequence[Taken]], Tables]) -> Tables:
    try:
        return build(messages)
    except _FAULTS:
        if len(messages) > 1:
            middle = len(messages) // 2
            return _kept(messages[:middle], build) + _kept(messages[middle:], build)
        (message,) = messages
        _log.exception(
            "message %d of kind %s cannot be made rows of; archived as it is",
            message.sequence,
            message.kind,
            extra={"sequence": message.sequence},
        )
    payload = message.payload if message.body is None else message.body.SerializeToString()
    junk = dataclasses.replace(message, body=None, payload=payload)
    return [(message.kind, junk_table(message.kind, [junk], Declared()))]
