"""Models for the tests of the Open Inference doors."""

import time
from typing import Any

from rendezvous_proto import v1
from rendezvous_sdk import model


@model(takes="frame")
def echo(view: Any) -> Any:
    """Gives every column back as it came, bit for bit."""
    return view.frame


@model(takes="frame")
def negated(view: Any) -> Any:
    """Gives every column back, BOOL turned round: so one sees who answered."""
    frame = v1.Frame()
    frame.CopyFrom(view.frame)
    for column in frame.columns:
        if column.type == v1.DataType.DATA_TYPE_BOOL:
            column.values = column.values.translate(bytes([1, 0]) + bytes(254))
    return frame


@model(takes="frame")
def slow(view: Any) -> Any:
    """Takes its time."""
    time.sleep(0.5)
    return view.frame
