"""A model that gives back what it gets, after ECHO_DELAY_MS; a number below 0 it refuses. The Python one of three."""

import os
import time
from typing import Any

from rendezvous_sdk import model, serve

DELAY_S = int(os.environ.get("ECHO_DELAY_MS", "0")) / 1000


@model(outputs={"y": "FP64"}, takes="columns")
def echo(columns: dict[str, Any]) -> dict[str, Any]:
    """Gives back x as y."""
    if (columns["x"] < 0).any():
        raise ValueError("x is below 0")
    time.sleep(DELAY_S)
    return {"y": columns["x"]}


if __name__ == "__main__":
    serve(echo, endpoint=os.environ["RENDEZVOUS_ENDPOINT"])
