"""A model whose answer depends on every bit of a row: so one sees whether two ways carried the same."""

import hashlib
import struct
from typing import Any

from rendezvous_proto.frames import FrameView
from rendezvous_sdk import model


@model(takes="frame")
def exact(view: FrameView) -> dict[str, Any]:
    """Answers a hash of the row, a number of the same bits, the row's text with the hash, and its own `f64`."""
    rows = view.to_arrow().to_pylist()
    hashes = [_hash(row) for row in rows]
    return {
        "hash": hashes,
        "ratio": [struct.unpack("<d", struct.pack("<Q", 0x3FF << 52 | value & (1 << 52) - 1))[0] for value in hashes],
        "echo": [
            None if row["text"] is None else f"{row['text']}→{value:x}" for row, value in zip(rows, hashes, strict=True)
        ],
        "back": [row["f64"] for row in rows],
    }


def _hash(row: dict[str, Any]) -> int:
    told = "\n".join(f"{name}={_shown(row[name])}" for name in sorted(row))
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "little", signed=True)


def _shown(value: Any) -> str:
    # The shortest text that is this float and no other; NaN has no bits that a way has to carry.
    return repr(value)
