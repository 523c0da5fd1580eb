"""What shows that the end of an archive's manifest is gone: decisions by scores that it does not have."""

import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from rendezvous_router.archive.store import ArchiveStore, Batch
from rendezvous_router.archive.verify import verify_endpoint
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot, Generation
from rendezvous_sdk.archive.schema import schema_of

DAY_US = 86_400_000_000


def scored(root: ArchiveRoot, decided_us: int, scored_us: Sequence[int]) -> None:
    """Writes decisions by scores at that time, one a microsecond, and scores of the first of them."""
    names = [f"request-{number}" for number in range(3)]
    decisions = [
        {"request_id": name, "chosen": "boosted", "stored_at": decided_us + place, "stream_sequence": place + 1}
        for place, name in enumerate(names)
    ]
    scores = [
        {"request_id": names[place], "row": 0, "model": "boosted", "stored_at": at, "score_sequence": place + 1}
        for place, at in enumerate(scored_us)
    ]
    for source, kind, rows in ((DURABLE, "decisions", decisions), (SCORES, "scores", scores)):
        if not rows:
            continue
        table = pa.Table.from_pylist(rows, schema=schema_of(kind))
        with ArchiveStore(root, "default", "credit", source) as store:
            last_us = max(row["stored_at"] for row in rows)
            store.write_batch(
                Batch(
                    generation=Generation(1_000),
                    first=1,
                    last=len(rows),
                    last_stored_unix_us=last_us,
                    messages=len(rows),
                    tables=[(kind, table)],
                )
            )


@pytest.mark.parametrize(
    ("age_us", "scored_us", "lacking"),
    [
        (DAY_US, [-3, -2, -1], 0),
        (DAY_US, [-3, -2], 1),
        (DAY_US, [], 3),
        (60_000_000, [], 0),
    ],
)
def test_verify_sees_decisions_without_their_scores(
    tmp_path: Path, age_us: int, scored_us: list[int], lacking: int
) -> None:
    """Where requests were decided by scores, some minutes ago, and the scores' archive ends before them, it is said."""
    root = ArchiveRoot.parse(tmp_path / "archive")
    now = time.time_ns() // 1000 - age_us
    scored(root, now, [now + each for each in scored_us])
    report = verify_endpoint(root, "default", "credit")
    told = [f"{lacking} requests were decided by scores that are not archived"] if lacking else []
    assert [each.partition(",")[0] for each in report.warnings] == told
    assert report.is_complete
