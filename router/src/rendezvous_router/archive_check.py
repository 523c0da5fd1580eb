"""Proves an archive complete: every input of the stream is in it, once."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from nats.aio.client import Client
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import DECOY_CONSUMER, check_name, durable_stream, input_subject

from rendezvous_router._archive_files import list_files
from rendezvous_router.record import OnProgress, read_stream

_COLUMNS = ["stream_sequence", "request_ids", "rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedInputs:
    """What an archive should hold, as the stream tells."""

    sequences: tuple[int, ...]
    """Sequences of the inputs that the stream still has, in order."""
    acknowledged: int
    """Up to this sequence the decoy has acknowledged everything; later ones may still be on their way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveReport:
    """What an archive of one endpoint's inputs holds and lacks."""

    endpoint: str
    """The endpoint."""
    files: int
    """Files read."""
    parcels: int
    """Distinct parcels."""
    requests: int
    """Distinct request ids."""
    rows: int
    """Rows of all parcels."""
    first_sequence: int
    """Lowest archived sequence; 0 when empty."""
    last_sequence: int
    """Highest archived sequence; 0 when empty."""
    gaps: tuple[int, ...] | None
    """Sequences that the stream has, the decoy acknowledged, and the archive lacks; None: not compared."""
    pending: int | None
    """Inputs in the stream that were not acknowledged and are not archived yet; None: not compared."""
    duplicates: tuple[int, ...]
    """Sequences that are archived more than once."""
    repeated_requests: tuple[str, ...]
    """Request ids in more than one parcel: a client's retry after UNAVAILABLE. Not a fault of the archive."""
    unreadable: tuple[str, ...] = field(default=())
    """Files that cannot be read, with the reason."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing that was compared, nothing is there twice and every file can be read."""
        return not (self.gaps or self.duplicates or self.unreadable)


def verify_archive(
    archive: Path, endpoint: str, *, first_sequence: int = 1, expected: ExpectedInputs | None = None
) -> ArchiveReport:
    """Reads an endpoint's archive and compares it with what it should hold.

    The stream also holds decisions, under other sequences; so gaps are judged against the inputs that the stream
    has (`read_expected`), and not told without it.

    Args:
        archive: root folder of the archive.
        endpoint: the endpoint.
        first_sequence: where to begin; earlier sequences are not looked at.
        expected: what the stream has; None: the archive is only checked in itself.

    Returns:
        The report; an archive that is not there is an empty one.

    Raises:
        ArchiveError: a Parquet file in the folder is not named as the decoy names them.
    """
    folder = archive / check_name("endpoint", endpoint) / "input"
    sequences: Counter[int] = Counter()
    requests: Counter[str] = Counter()
    rows, unreadable = 0, []
    files = [file for file in list_files(folder) if file[1] >= first_sequence]
    for _, _, path in files:
        try:
            table = pq.read_table(path, columns=_COLUMNS)
        except (OSError, pa.ArrowException) as error:
            unreadable.append(f"{path.name}: {error}")
            continue
        for sequence, request_ids, count in zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True):
            if sequence >= first_sequence and sequences[sequence] == 0:
                requests.update(request_ids)
                rows += count
            sequences[sequence] += sequence >= first_sequence
    held = +sequences
    gaps, pending = _compare(held, expected, first_sequence)
    return ArchiveReport(
        endpoint=endpoint,
        files=len(files),
        parcels=len(held),
        requests=len(requests),
        rows=rows,
        first_sequence=min(held, default=0),
        last_sequence=max(held, default=0),
        gaps=gaps,
        pending=pending,
        duplicates=tuple(sorted(each for each, count in held.items() if count > 1)),
        repeated_requests=tuple(sorted(each for each, count in requests.items() if count > 1)),
        unreadable=tuple(unreadable),
    )


async def read_expected(
    client: Client, endpoint: str, *, on_progress: OnProgress | None = None
) -> ExpectedInputs | None:
    """Returns which inputs an endpoint's stream has; None when it has no stream or no decoy ever read it.

    Raises:
        UnavailableError: the server stopped answering.
    """
    stream = durable_stream(endpoint)
    try:
        # First how far the decoy is, then what is there: the other way round, news would look like gaps.
        info = await client.jetstream().consumer_info(stream, DECOY_CONSUMER)
    except NotFoundError:
        return None
    messages = read_stream(client, stream, input_subject(endpoint), headers_only=True, on_progress=on_progress)
    return ExpectedInputs(
        sequences=tuple([message.sequence async for message in messages]),
        acknowledged=info.ack_floor.stream_seq if info.ack_floor else 0,
    )


def _compare(
    held: Iterable[int], expected: ExpectedInputs | None, first_sequence: int
) -> tuple[tuple[int, ...] | None, int | None]:
    if expected is None:
        return None, None
    there = set(held)
    missing = [each for each in expected.sequences if each >= first_sequence and each not in there]
    gaps = tuple(each for each in missing if each <= expected.acknowledged)
    return gaps, len(missing) - len(gaps)
