"""Keeps archives up in the background of the process that writes them: compaction, retention, sweeping.

One thread of low priority, which does its work row group by row group and may be ended between any two of them:
whatever it was about is as it was, and found again at the next start.
"""

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from rendezvous.spec import parse_duration
from rendezvous_sdk.archive.layout import ArchiveRoot

from rendezvous_router.archive.compaction import CompactionOptions, compact_step
from rendezvous_router.archive.retention import RetentionOptions, retain
from rendezvous_router.archive.store import ArchiveLockedError
from rendezvous_router.archive.sweeping import GRACE_S

__all__ = ["Upkeep", "UpkeepOptions", "parse_size", "upkeep_options"]

INTERVAL_S = 60.0
"""Time between two rounds, seconds."""

_RETAIN_EVERY_S = 600.0
_JOIN_S = 5.0
_NICE = 10
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepOptions:
    """What is done, and how often."""

    interval_s: float = INTERVAL_S
    """Time between two rounds, seconds."""
    compaction: CompactionOptions = field(default_factory=CompactionOptions)
    """What is merged."""
    retention: RetentionOptions | None = None
    """What is kept; None: everything."""
    rest: float = 20.0
    """It rests at least so many times as long as the round before took, however large the archive."""


class _StoppedError(Exception):
    """The thread is asked to end."""


class Upkeep:
    """Keeps the endpoints of one tenant's archive up. `start` once, `stop` once.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoints: gives the endpoints at the time; called in the thread.
        options: what is done.
    """

    def __init__(
        self, root: ArchiveRoot, tenant: str, endpoints: Callable[[], Collection[str]], options: UpkeepOptions
    ) -> None:
        self._root = root
        self._tenant = tenant
        self._endpoints = endpoints
        self._options = options
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._retained_at = float("-inf")
        self._complained: dict[str, str] = {}
        self.rounds = 0
        """Rounds that have ended."""

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what it was about is left for the next start. Blocks for a few seconds at most."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere that would be the whole process
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, thread)))
        pause_s = self._options.interval_s
        while not self._stopping.wait(pause_s):
            started = time.monotonic()
            for endpoint in sorted(self._endpoints()):
                self._attempt(endpoint)
            if time.monotonic() - self._retained_at >= _RETAIN_EVERY_S:
                self._retained_at = time.monotonic()
            pause_s = max(self._options.interval_s, self._options.rest * (time.monotonic() - started))
            self.rounds += 1

    def _attempt(self, endpoint: str) -> None:
        """One round of an endpoint. A fault is logged, once while it stays the same, and tried again."""
        try:
            self._keep_up(endpoint)
        except _StoppedError:
            return
        except ArchiveLockedError as error:
            _log.debug("endpoint %s: %s", endpoint, error)
        except Exception as error:  # noqa: BLE001 # whatever it is: a thread that ends would end upkeep unheard
            if self._complained.get(endpoint) != str(error):
                _log.error("endpoint %s: the archive is not kept up: %r", endpoint, error)
            self._complained[endpoint] = str(error)
        else:
            self._complained.pop(endpoint, None)

    def _keep_up(self, endpoint: str) -> None:
        while compact_step(self._root, self._tenant, endpoint, self._options.compaction, check=self._check):
            self._check()
        is_due = time.monotonic() - self._retained_at >= _RETAIN_EVERY_S
        if self._options.retention is None or not is_due:
            return
        done = retain(self._root, self._tenant, [endpoint], self._options.retention)
        if done.removed:
            _log.info("endpoint %s: %d rows removed, kept from %s on", endpoint, done.rows, done.oldest_day)

    def _check(self) -> None:
        if self._stopping.is_set():
            raise _StoppedError


def upkeep_options(
    *, keep: str = "", keep_bytes: str = "", interval_s: float = INTERVAL_S, grace_s: float = GRACE_S
) -> UpkeepOptions:
    """Returns options as people write them.

    Args:
        keep: how long days are kept, a duration (`90d`); empty: for ever.
        keep_bytes: how much of each endpoint is kept, a size (`50GB`); empty: everything.
        interval_s: time between two rounds, seconds.
        grace_s: how long replaced and removed files stay for those who read them, seconds.

    Raises:
        ValueError: a value is malformed; the message names it.
    """
    retention = None
    if keep or keep_bytes:
        retention = RetentionOptions(
            max_age_s=parse_duration(keep) if keep else None,
            max_bytes=parse_size(keep_bytes) if keep_bytes else None,
            grace_s=grace_s,
        )
    return UpkeepOptions(interval_s=interval_s, compaction=CompactionOptions(grace_s=grace_s), retention=retention)


def parse_size(text: str) -> int:
    """Returns the bytes of a size: `50GB` and the like, powers of 1000; `50GiB`, powers of 1024; or a number.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size: write 500MB, 50GB, 2TiB, or a number of bytes")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[unit.upper()])
