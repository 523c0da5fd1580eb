"""Takes away what no current entry of the manifest needs, once readers have had time to finish with it.

Compaction, retention and forgetting put new files and then the entry that names them. What is no longer named is
noted in `_manifest/discarded.json` with the time since when, and deleted when the grace is over: a reader that listed
the files before may read them until then. A crash anywhere leaves files that nothing names, which the next sweep finds.
"""

import contextlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow.fs as pafs
from rendezvous_sdk.archive.durable import put_bytes
from rendezvous_sdk.archive.layout import (
    ArchiveRoot,
    Generation,
    endpoint_folder,
    manifest_folder,
    parse_file_name,
)
from rendezvous_sdk.archive.manifest import (
    ArchiveError,
    Entry,
    list_ranges,
    list_sources,
    read_current,
    select_current,
)

from rendezvous_router.archive.store import ArchiveLockedError, take_lock

__all__ = ["GRACE_S", "Swept", "keep_up", "sweep"]

GRACE_S = 600.0
"""How long a file that is no longer named stays for its readers, seconds."""

_log = logging.getLogger(__name__)

_DISCARDED = "discarded.json"
_LEASE = "upkeep.json"
_LEASE_S = 900.0
_SETTLE_S = 1.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep did."""

    files: int = 0
    """Parquet files deleted."""
    bytes: int = 0
    """Their size."""
    entries: int = 0
    """Superseded entries deleted."""
    waiting: int = 0
    """Files and entries whose grace is not over."""


def sweep(
    root: ArchiveRoot, tenant: str, endpoint: str, *, grace_s: float = GRACE_S, now_unix_us: int | None = None
) -> Swept:
    """Deletes what is no longer named since *grace_s* seconds; to be called while the archive is kept up (`keep_up`).

    Raises:
        ArchiveError, OSError: the archive cannot be read or written.
    """
    now = time.time_ns() // 1000 if now_unix_us is None else now_unix_us
    # Files first: one whose entry comes in between is named when the entries are read.
    files = _list_files(root, tenant, endpoint)
    entries = read_current(root, tenant, endpoint)
    discarded = {**_unnamed_files(files, entries), **_superseded(root, tenant, endpoint)}
    known = _read_discarded(root, tenant, endpoint)
    since = {path: known.get(path, now) for path in discarded}
    due = {path for path, at in since.items() if at + grace_s * 1e6 <= now}
    waiting = {path: at for path, at in since.items() if path not in due}
    for path in sorted(due):
        with contextlib.suppress(FileNotFoundError):
            root.filesystem.delete_file(root.at(path))
    if waiting != known:
        put_bytes(root, f"{manifest_folder(tenant, endpoint)}/{_DISCARDED}", json.dumps(waiting).encode() + b"\n")
    parquet = [path for path in due if path.endswith(".parquet")]
    return Swept(
        files=len(parquet),
        bytes=sum(discarded[path] for path in parquet),
        entries=len(due) - len(parquet),
        waiting=len(waiting),
    )


def _list_files(root: ArchiveRoot, tenant: str, endpoint: str) -> list[tuple[str, int]]:
    """Returns (path from the root, size) of every Parquet file, and of what is left of unfinished ones."""
    folder = endpoint_folder(tenant, endpoint)
    selector = pafs.FileSelector(root.at(folder), recursive=True, allow_not_found=True)
    found = root.filesystem.get_file_info(selector)
    start = len(root.path) + 1
    return [(each.path[start:], each.size) for each in found if each.type == pafs.FileType.File]


def _unnamed_files(files: list[tuple[str, int]], entries: list[Entry]) -> dict[str, int]:
    """Returns path and size of the files that no entry names, without those that lie after the last entry.

    The latter may be of a batch whose entry is about to be put; the writer looks after them.
    """
    named = {file.path for entry in entries for file in entry.files}
    ends: dict[str, tuple[Generation, int]] = {}
    for entry in entries:
        end = Generation.parse(entry.generation), entry.last
        ends[entry.source] = max(ends.get(entry.source, end), end)
    unnamed = {}
    for path, size in files:
        name = path.rpartition("/")[2]
        parsed = parse_file_name(name.removeprefix(".").removesuffix(".tmp"))
        if parsed is None or path in named or parsed[0] not in ends:
            continue
        if (Generation.parse(parsed[1]), parsed[2]) <= ends[parsed[0]]:
            unnamed[path] = size
    return unnamed


def _superseded(root: ArchiveRoot, tenant: str, endpoint: str) -> dict[str, int]:
    """Returns the paths of superseded entries; their sizes do not matter."""
    paths = {}
    for source in list_sources(root, tenant, endpoint):
        ranges = list_ranges(root, tenant, endpoint, source)
        current = {each.name for each in select_current(ranges)}
        folder = manifest_folder(tenant, endpoint, source)
        paths.update({f"{folder}/{each.name}": 0 for each in ranges if each.name not in current})
    return paths


def _read_discarded(root: ArchiveRoot, tenant: str, endpoint: str) -> Mapping[str, int]:
    path = root.at(f"{manifest_folder(tenant, endpoint)}/{_DISCARDED}")
    try:
        with root.filesystem.open_input_file(path) as stream:
            document = json.loads(stream.read())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ArchiveError(f"{_DISCARDED} of {endpoint} is damaged ({error}): delete it, it is made anew") from error
    return {str(path): int(at) for path, at in document.items()}


@contextlib.contextmanager
def keep_up(root: ArchiveRoot, tenant: str, endpoint: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Holds the right to replace and delete files of an endpoint; one process has it at a time.

    Locally a file lock. On an object store a lease of 15 minutes in `_manifest/upkeep.json`, renewed while it is held:
    written and, a second later, read again; the last who wrote it has it.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        wait_s: how long to wait for it, seconds.

    Raises:
        ArchiveLockedError: another process has it.
    """
    with contextlib.ExitStack() as held:
        give_up = time.monotonic() + wait_s
        while True:
            try:
                held.enter_context((_lock_locally if root.is_local else _lease)(root, tenant, endpoint))
                break
            except ArchiveLockedError:
                if time.monotonic() >= give_up:
                    raise
            time.sleep(_POLL_S)
        yield


@contextlib.contextmanager
def _lock_locally(root: ArchiveRoot, tenant: str, endpoint: str) -> Iterator[None]:
    lock = take_lock(root, f"{manifest_folder(tenant, endpoint)}/.upkeep.lock")
    assert lock is not None, "the root is local"
    try:
        yield
    finally:
        lock.close()


@contextlib.contextmanager
def _lease(root: ArchiveRoot, tenant: str, endpoint: str) -> Iterator[None]:
    relative = f"{manifest_folder(tenant, endpoint)}/{_LEASE}"
    owner = f"{uuid.uuid4().hex} (process {os.getpid()})"
    _refuse_held(root, relative, endpoint)
    _put_lease(root, relative, owner)
    time.sleep(_SETTLE_S)
    if _read_lease(root, relative).get("owner") != owner:
        raise ArchiveLockedError(f"the archive of {endpoint} is being kept up by another process: try again later")
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(root, relative, owner, done), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        _put_lease(root, relative, "")


def _renew(root: ArchiveRoot, relative: str, owner: str, done: threading.Event) -> None:
    while not done.wait(_LEASE_S / 3):
        try:
            _put_lease(root, relative, owner)
        except OSError as error:
            _log.warning("the lease %s was not renewed: %s", relative, error)


def _put_lease(root: ArchiveRoot, relative: str, owner: str) -> None:
    until = time.time() + _LEASE_S if owner else 0
    put_bytes(root, relative, json.dumps({"owner": owner, "until_unix_s": until}).encode())


def _refuse_held(root: ArchiveRoot, relative: str, endpoint: str) -> None:
    lease = _read_lease(root, relative)
    left_s = float(lease.get("until_unix_s", 0)) - time.time()  # type: ignore[arg-type] # a number, as it was written
    if lease.get("owner") and left_s > 0:
        raise ArchiveLockedError(
            f"the archive of {endpoint} is being kept up by {lease['owner']}; if that is gone: try in {left_s:.0f} s"
        )


def _read_lease(root: ArchiveRoot, relative: str) -> dict[str, object]:
    try:
        with root.filesystem.open_input_file(root.at(relative)) as stream:
            return dict(json.loads(stream.read()))
    except FileNotFoundError:
        return {}
    except ValueError:
        return {}  # no lease: half of one cannot be, for it is put at once
