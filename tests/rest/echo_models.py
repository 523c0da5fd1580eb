"""Models of the REST tests."""

from typing import Any

import numpy as np
from rendezvous_proto.frames import FrameView
from rendezvous_proto.v1 import Frame
from rendezvous_sdk import model


@model(takes="frame")
def echo(view: FrameView) -> Frame:
    """Answers its input."""
    return view.frame


@model(takes="columns")
def plus(table: dict[str, Any]) -> dict[str, Any]:
    """Adds two columns."""
    return {
        "total": np.asarray(table["a"] + table["b"], "<f8"),
        "label": ["high" if value > 1 else "low" for value in table["a"]],
    }
