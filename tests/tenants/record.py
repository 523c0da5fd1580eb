"""What is kept of a tenant, in a form in which two moments can be compared."""

import hashlib
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from rendezvous_proto.postbox import DECOY_CONSUMER

LIVE = ("KV_rv_replicas", "KV_rv_routers")
"""Buckets that are written all the time, by whoever lives."""


async def read_record(client: Client) -> dict[str, Any]:
    """Returns what an account keeps: each stream's configuration and counts, and its models' places."""
    js = client.jetstream()
    kept: dict[str, Any] = {}
    for stream in await js.streams_info():
        name = str(stream.config.name)
        state = stream.state
        kept[name] = {"config": stream.config.as_dict()}
        if name in LIVE:
            continue
        kept[name] |= {"messages": state.messages, "first": state.first_seq, "last": state.last_seq}
        kept[name] |= {"bytes": state.bytes, "deleted": state.deleted}
        if not name.startswith("KV_"):  # readers of a bucket come and go
            kept[name]["consumers"] = {
                each.name: (
                    each.delivered.stream_seq,
                    each.ack_floor.stream_seq,
                    each.num_pending,
                    each.num_redelivered,
                )
                for each in await js.consumers_info(name)
                if each.name != DECOY_CONSUMER and each.delivered is not None and each.ack_floor is not None
            }
    return kept


def read_files(folder: Path) -> dict[str, str]:
    """Returns a hash of each file in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")  # tells who holds it
    }
