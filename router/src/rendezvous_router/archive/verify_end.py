"""What shows that a manifest lost its end, of which its own entries know nothing.

A writer puts a batch's files, then its entry, then the next batch's files; and removes at its start what an entry is
lacking of. So files of one batch behind the last entry are a crash's, or a writer's at this moment, or of an entry
that is gone; files of several prove that entries are gone. A decision by a model's score proves that there was one.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from rendezvous_sdk.archive.layout import SCORES, ArchiveRoot, Generation, endpoint_folder, parse_file_name
from rendezvous_sdk.archive.manifest import ArchivedFile, Entry

__all__ = ["BatchFiles", "behind_the_end", "find_unscored", "list_batches"]

SETTLED_US = 600_000_000
"""Age from which a score that decided a request should be archived, microseconds."""

_BEFORE_US = 3_600_000_000
"""How long before its decision a score may have been stored."""


@dataclass(frozen=True, slots=True, order=True)
class BatchFiles:
    """A batch of which there are files."""

    source: str
    """Its source."""
    generation: Generation
    """Generation of the source."""
    first: int
    """First sequence."""
    last: int
    """Last sequence."""


def list_batches(root: ArchiveRoot, tenant: str, endpoint: str) -> set[BatchFiles]:
    """Returns the batches that an endpoint's folders have files of; to be called before the manifest is read.

    Raises:
        OSError: the archive cannot be listed.
    """
    folder = root.at(endpoint_folder(tenant, endpoint))
    found = root.filesystem.get_file_info(pafs.FileSelector(folder, recursive=True, allow_not_found=True))
    parsed = (parse_file_name(each.base_name) for each in found if each.type == pafs.FileType.File)
    return {BatchFiles(each[0], Generation.parse(each[1]), each[2], each[3]) for each in parsed if each is not None}


def behind_the_end(batches: Iterable[BatchFiles], entries: Iterable[Entry]) -> dict[str, list[BatchFiles]]:
    """Returns the batches that lie behind the last entry of their generation, in order, by source."""
    reached: dict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        place = entry.source, entry.generation
        reached[place] = max(reached[place], entry.last)
    behind: dict[str, list[BatchFiles]] = defaultdict(list)
    for each in sorted(batches):
        if each.first > reached[each.source, str(each.generation)]:
            behind[each.source].append(each)
    return behind


def find_unscored(root: ArchiveRoot, entries: Sequence[Entry]) -> int:
    """Returns how many requests were decided by a score, more than ten minutes ago, behind the end of all scores.

    Raises:
        OSError, pyarrow.ArrowException: a file cannot be read.
    """
    end_us = max((each.last_stored_unix_us for each in entries if each.source == SCORES), default=0)
    settled_us = time.time_ns() // 1000 - SETTLED_US
    decided, since_us = _decided(root, _files(entries, "decisions", end_us), end_us, settled_us)
    if not len(decided):
        return 0
    for file in _files(entries, "scores", since_us - _BEFORE_US):
        known = _read(root, file, ["request_id"])["request_id"]
        decided = decided.filter(pc.invert(pc.is_in(decided, known.combine_chunks())))
    return len(decided)


def _decided(root: ArchiveRoot, files: Iterable[ArchivedFile], after_us: int, until_us: int) -> tuple[pa.Array, int]:
    """Returns the requests that a score decided in that time, and when the first of them was."""
    found, first_us = [], until_us
    for file in files:
        table = _read(root, file, ["request_id", "chosen", "stored_at"])
        stored = table["stored_at"].cast(pa.int64())
        chosen = pc.and_(pc.is_valid(table["chosen"]), pc.and_(pc.greater(stored, after_us), pc.less(stored, until_us)))
        hits = table.filter(chosen)
        if hits.num_rows:
            first_us = min(first_us, pc.min(hits["stored_at"].cast(pa.int64())).as_py())
            found.append(hits["request_id"].combine_chunks())
    return (pc.unique(pa.concat_arrays(found)) if found else pa.array([], pa.string())), first_us


def _files(entries: Iterable[Entry], kind: str, since_us: int) -> list[ArchivedFile]:
    files = (file for entry in entries for file in entry.files if file.kind == kind)
    return [file for file in files if file.to_stored_unix_us > since_us]


def _read(root: ArchiveRoot, file: ArchivedFile, columns: list[str]) -> pa.Table:
    with root.filesystem.open_input_file(root.at(file.path)) as stream:
        return pq.ParquetFile(stream).read(columns=columns)
