"""Writes what the journals of dead routers hold to the postbox, once."""

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from rendezvous_proto.errors import UnavailableError
from rendezvous_proto.postbox import decision_subject, durable_stream
from rendezvous_proto.v1 import DecisionBatch, DecisionRecord

from rendezvous_router.journal import LeftBatch, LeftJournal, find_left
from rendezvous_router.postbox import Postbox
from rendezvous_router.record import read_decisions
from rendezvous_router.streams import DUPLICATE_WINDOW_S

_RETRY_S = 0.5
_MARGIN_S = 20.0
"""By how much clocks may differ, and a batch be older than its first decision."""

_NEAR_S = 600.0
"""How long after its first decision a batch may have been written, and by how much clocks may differ."""

_log = logging.getLogger(__name__)


async def write_left(folder: Path, postbox: Postbox) -> int:
    """Writes the decisions that routers left in *folder* when they died, and removes their journals.

    Tries as long as it takes. A journal stays until JetStream has all of it.

    Args:
        folder: where journals are.
        postbox: takes them.

    Returns:
        How many decisions were left.
    """
    written = 0
    for journal in await asyncio.to_thread(find_left, folder):
        try:
            written += await _write_journal(journal, postbox)
        except Exception:  # noqa: BLE001 # one that cannot be read must not keep the others from being written
            _log.exception("the journal %s stays as it is: please report it", journal.path)
        finally:
            journal.close()
    return written


async def _write_journal(journal: LeftJournal, postbox: Postbox) -> int:
    written = 0
    for batch in await asyncio.to_thread(journal.batches):
        message = DecisionBatch.FromString(b"".join(batch.parts))
        while True:
            try:
                is_written = await _write_batch(batch, message.records[0], postbox)
                break
            except (ConnectionError, NatsError, TimeoutError, UnavailableError) as error:
                _log.warning("decisions of a dead router wait for the postbox: %s", error)
                await asyncio.sleep(_RETRY_S)
        written += len(message.records) if is_written else 0
    await asyncio.to_thread(journal.remove)
    if written:
        _log.info("%d decisions of a dead router are in the postbox now", written)
    return written


async def _write_batch(batch: LeftBatch, first: DecisionRecord, postbox: Postbox) -> bool:
    """Writes a batch, unless the stream has it or is gone; returns whether it did."""
    try:
        info = await postbox.client.jetstream().stream_info(durable_stream(batch.endpoint))
    except NotFoundError:
        _log.warning("endpoint %s is gone, with the decisions of a dead router", batch.endpoint)
        return False
    # JetStream knows the ids of its last seconds; what may be older is looked for.
    window_s = info.config.duplicate_window or DUPLICATE_WINDOW_S
    is_known = time.time() - first.decided_unix_us / 1e6 < window_s - _MARGIN_S
    if not is_known and await _has(postbox, batch.endpoint, first):
        return False
    await postbox.write(decision_subject(batch.endpoint), b"".join(batch.parts), batch.batch_id)
    return True


async def _has(postbox: Postbox, endpoint: str, first: DecisionRecord) -> bool:
    near_us = int(_NEAR_S * 1e6)
    records = read_decisions(
        postbox.client, endpoint, max(0, first.decided_unix_us - near_us), first.decided_unix_us + near_us
    )
    wanted = first.router, first.decision.request_id
    async with contextlib.aclosing(records):
        async for record in records:
            if (record.router, record.decision.request_id) == wanted:
                return True
    return False
