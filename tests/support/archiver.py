"""An archive's process that writes, merges and deletes far more often than one in use.

`python -m tests.support.archiver ROOT NATS`. Many small files, merged two at a time and deleted at once, so that a
kill finds it in the middle of something.
"""

import asyncio
import sys

from rendezvous_router.archive.compaction import CompactionOptions
from rendezvous_router.archive.process import ArchiveOptions, run_archive
from rendezvous_router.archive.reading import FlushLimits
from rendezvous_router.archive.upkeep import UpkeepOptions
from rendezvous_sdk.archive.layout import DEFAULT_TENANT, ArchiveRoot
from rendezvous_sdk.logs import configure_logs


def main(root: str, nats: str) -> None:
    """Archives what is at *nats* into *root* until it is told to stop."""
    configure_logs("info")
    options = ArchiveOptions(
        nats=nats,
        root=ArchiveRoot.parse(root),
        tenant=DEFAULT_TENANT,
        limits=FlushLimits(seconds=0.1),
        upkeep=UpkeepOptions(interval_s=0.1, rest=1.0, compaction=CompactionOptions(fan_in=2, grace_s=0)),
    )
    asyncio.run(run_archive(options))


if __name__ == "__main__":
    main(*sys.argv[1:])
