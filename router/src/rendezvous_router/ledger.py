"""Writes decisions to the postbox, many to a message, off the path of the answers.

Each message of the durable stream is flushed to disk before it is acknowledged, so decisions are written in batches.
A batch that JetStream does not acknowledge is kept and sent again with the same `Nats-Msg-Id`. With a journal decisions
are on the local disk before their answers leave, and outlive the process; without one its death loses those of the
last `FLUSH_S` (the inputs and scores they were made from are kept).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import MAX_PARCEL_BYTES, decision_subject
from rendezvous_proto.v1 import DecisionBatch, DecisionRecord
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.journal import Journal

FLUSH_S = 0.1
"""How long a decision waits for company."""
RETRY_S = 0.5
"""Pause before an unacknowledged batch is sent again."""
KEEP_BATCHES = 1000
"""Batches of an endpoint kept while the postbox is away; beyond that the oldest is dropped, and that is logged."""

_log = logging.getLogger(__name__)

Write = Callable[[str, bytes, str], Awaitable[None]]
"""Publishes (subject, payload, message id) and returns when JetStream has acknowledged; raises otherwise."""

IsGone = Callable[[str], Awaitable[bool]]
"""Says whether an endpoint's stream is gone for good, so that nothing can be written to it."""


@dataclass(slots=True)
class _Batch:
    """Decisions that become one message."""

    endpoint: str
    batch_id: str = field(default_factory=new_id)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)


class Ledger:
    """Collects decision records and writes them, each endpoint's by themselves. One per router; not thread-safe.

    Args:
        write: publishes a batch.
        journal: keeps decisions until they are published; None: nothing does.
        is_gone: asked when a batch could not be written; None: no endpoint ever goes.
    """

    def __init__(self, write: Write, journal: Journal | None = None, is_gone: IsGone | None = None) -> None:
        self._write = write
        self._journal = journal
        self._is_gone = is_gone
        self._fresh: list[tuple[str, Callable[[], DecisionRecord]]] = []
        self._open: dict[str, _Batch] = {}
        self._batches: dict[str, deque[_Batch]] = {}
        self._writers: dict[str, asyncio.Task[None]] = {}
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Batches that JetStream has not acknowledged yet."""
        return sum(map(len, self._batches.values()))

    def start(self) -> None:
        """Starts writing in the background."""
        self._task = asyncio.create_task(self._run(), name="ledger")

    def enter(self, endpoint: str, make_record: Callable[[], DecisionRecord]) -> None:
        """Takes one decision of *endpoint*, before its answer is given.

        Args:
            endpoint: the endpoint.
            make_record: is called soon: with a journal before callbacks that are scheduled after this call.
        """
        if not self._fresh and self._journal is not None:
            # All decisions of one turn of the event loop are one write; who waits for an answer comes after it.
            asyncio.get_running_loop().call_soon(self._note)
        self._fresh.append((endpoint, make_record))
        self._work.set()

    async def close(self, timeout_s: float) -> None:
        """Writes what is left, for at most *timeout_s* seconds, and stops."""
        if self._task is None:
            return
        await end_tasks(self._task)
        self._seal()
        if self._writers:
            await asyncio.wait(self._writers.values(), timeout=timeout_s)
        if self._writers:
            kept = "" if self._journal is None else f", kept in {self._journal.path}"
            _log.error("decisions not written within %g s: %d batches%s", timeout_s, self.waiting, kept)
        await end_tasks(*self._writers.values())
        if self._journal is not None:
            self._journal.close()

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(FLUSH_S)
            self._work.clear()
            self._seal()

    async def _write_endpoint(self, endpoint: str) -> None:
        """Writes an endpoint's batches until there are none, trying as long as it takes."""
        batches = self._batches[endpoint]
        try:
            while batches:
                batch = batches[0]
                try:
                    await self._write(decision_subject(endpoint), b"".join(batch.parts), batch.batch_id)
                except (ConnectionError, TimeoutError) as error:
                    if not await self._give_up(endpoint, error):
                        continue
                if batches and batches[0] is batch:
                    batches.popleft()
                self._strike(batch)
        finally:
            self._writers.pop(endpoint, None)

    async def _give_up(self, endpoint: str, error: Exception) -> bool:
        """Returns whether an endpoint is gone; if not, after a pause."""
        if self._is_gone is not None and await self._is_gone(endpoint):
            _log.warning(
                "a batch of decisions has no place any more: the endpoint is gone", extra={"endpoint": endpoint}
            )
            return True
        waiting = len(self._batches[endpoint])
        _log.warning("decisions wait for the postbox (%d batches): %s", waiting, error, extra={"endpoint": endpoint})
        await asyncio.sleep(RETRY_S)
        return False

    def _strike(self, batch: _Batch) -> None:
        if self._journal is not None:
            self._journal.strike(batch.batch_id)

    def _note(self) -> None:
        """Adds what was entered to the open batches, and to the journal."""
        fresh, self._fresh = self._fresh, []
        for endpoint, make_record in fresh:
            # Serialized messages that follow each other are one message with all their records.
            part = DecisionBatch(records=[make_record()]).SerializeToString()
            batch = self._open.get(endpoint)
            if batch is not None and batch.size + len(part) > MAX_PARCEL_BYTES:
                self._keep(self._open.pop(endpoint))
                batch = None
            if batch is None:
                batch = self._open[endpoint] = _Batch(endpoint)
            batch.add(part)
            if self._journal is not None:
                self._journal.note(batch.batch_id, endpoint, part)
        if self._journal is not None and fresh:
            self._journal.write()

    def _seal(self) -> None:
        self._note()
        opened, self._open = self._open, {}
        for batch in opened.values():
            self._keep(batch)

    def _keep(self, batch: _Batch) -> None:
        endpoint = batch.endpoint
        batches = self._batches.setdefault(endpoint, deque())
        if len(batches) >= KEEP_BATCHES:
            self._strike(batches.popleft())
            self.dropped += 1
            _log.error("decisions of endpoint %s dropped: the postbox was away for too long", endpoint)
        batches.append(batch)
        if endpoint not in self._writers:
            self._writers[endpoint] = asyncio.create_task(self._write_endpoint(endpoint), name=f"decisions {endpoint}")
