"""Loads the conformance vectors: cases that every implementation of the protocol must agree with."""

import json
from importlib import resources
from pathlib import Path
from typing import Any, cast

__all__ = ["TOPICS", "load_vectors"]

TOPICS = (
    "frames",
    "missing",
    "nans",
    "parcels",
    "scores",
    "deadlines",
    "errors",
    "statuses",
    "names",
    "traces",
)
"""What there are vectors of; one file each."""

_CHECKOUT = Path(__file__).resolve().parents[2] / "vectors"


def load_vectors(topic: str) -> list[dict[str, Any]]:
    """Returns the cases of one topic, as described by `proto/vectors/schema.json`.

    They are read from the installed wheel, or from the checkout's `proto/vectors` in an editable install.

    Args:
        topic: One of `TOPICS`.

    Raises:
        ValueError: If there is no such topic.
    """
    if topic not in TOPICS:
        raise ValueError(f"there are no vectors of {topic!r}: topics are {', '.join(TOPICS)}")
    packaged = resources.files("rendezvous_proto") / "vector_files" / f"{topic}.json"
    text = packaged.read_text() if packaged.is_file() else (_CHECKOUT / f"{topic}.json").read_text()
    return cast("list[dict[str, Any]]", json.loads(text)["cases"])
