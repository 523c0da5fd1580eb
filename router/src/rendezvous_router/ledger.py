"""Writes decisions to the postbox, many to a message, off the path of the answers.

Each message of the durable stream is flushed to disk before it is acknowledged, so decisions are written in batches.
A batch that JetStream does not acknowledge is kept and sent again with the same `Nats-Msg-Id`; only the death of the
router's process can lose the decisions of the last `FLUSH_S` (the inputs and scores they were made from are kept).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import MAX_PARCEL_BYTES, decision_subject
from rendezvous_proto.v1 import DecisionBatch, DecisionRecord
from rendezvous_sdk.tasks import end_tasks

FLUSH_S = 0.1
"""How long a decision waits for company."""
RETRY_S = 0.5
"""Pause before an unacknowledged batch is sent again."""
KEEP_BATCHES = 1000
"""Batches kept while the postbox is away; beyond that the oldest is dropped, with an error in the log."""

_log = logging.getLogger(__name__)

Write = Callable[[str, bytes, str], Awaitable[None]]
"""Publishes (subject, payload, message id) and returns when JetStream has acknowledged; raises otherwise."""


class Ledger:
    """Collects decision records and writes them. One per router; not thread-safe."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._open: dict[str, list[Callable[[], DecisionRecord]]] = {}
        self._batches: deque[tuple[str, bytes, str]] = deque()
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Batches that JetStream has not acknowledged yet."""
        return len(self._batches)

    def start(self) -> None:
        """Starts writing in the background."""
        self._task = asyncio.create_task(self._run(), name="ledger")

    def enter(self, endpoint: str, make_record: Callable[[], DecisionRecord]) -> None:
        """Takes one decision of *endpoint*; *make_record* is called when the batch is written."""
        self._open.setdefault(endpoint, []).append(make_record)
        self._work.set()

    async def close(self, timeout_s: float) -> None:
        """Writes what is left, for at most *timeout_s* seconds, and stops."""
        if self._task is None:
            return
        await end_tasks(self._task)
        try:
            async with asyncio.timeout(timeout_s):
                await self._flush()
        except TimeoutError:
            _log.error("decisions not written within %g s: %d batches lost", timeout_s, len(self._batches))

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(FLUSH_S)
            self._work.clear()
            await self._flush()

    async def _flush(self) -> None:
        self._seal()
        while self._batches:
            subject, payload, batch_id = self._batches[0]
            try:
                await self._write(subject, payload, batch_id)
            except (ConnectionError, TimeoutError) as error:
                _log.warning("decisions wait for the postbox (%d batches): %s", len(self._batches), error)
                await asyncio.sleep(RETRY_S)
                self._seal()
                continue
            self._batches.popleft()

    def _seal(self) -> None:
        entered, self._open = self._open, {}
        for endpoint, makers in entered.items():
            batch, size = DecisionBatch(), 0
            for make_record in makers:
                record = make_record()
                record_bytes = record.ByteSize() + 8
                if size + record_bytes > MAX_PARCEL_BYTES and batch.records:
                    self._append(endpoint, batch)
                    batch, size = DecisionBatch(), 0
                batch.records.append(record)
                size += record_bytes
            self._append(endpoint, batch)

    def _append(self, endpoint: str, batch: DecisionBatch) -> None:
        if len(self._batches) >= KEEP_BATCHES:
            self._batches.popleft()
            self.dropped += 1
            _log.error("decisions of endpoint %s dropped: the postbox was away for too long", endpoint)
        self._batches.append((decision_subject(endpoint), batch.SerializeToString(), new_id()))
