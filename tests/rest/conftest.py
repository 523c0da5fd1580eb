"""One installation for all REST tests: a router, and models that echo every type of column."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from rendezvous_router.nats_server import NatsServer

from tests.support.stack import Stack

TYPES: dict[str, dict[str, Any]] = {
    "flag": {"type": "BOOL"},
    "u8": {"type": "UINT8"},
    "u16": {"type": "UINT16"},
    "u32": {"type": "UINT32"},
    "u64": {"type": "UINT64"},
    "i8": {"type": "INT8"},
    "i16": {"type": "INT16"},
    "i32": {"type": "INT32"},
    "i64": {"type": "INT64"},
    "f16": {"type": "FP16", "nan": True},
    "f32": {"type": "FP32", "nan": True},
    "f64": {"type": "FP64", "nan": True},
    "text": {"type": "STRING"},
    "blob": {"type": "BYTES"},
    "matrix": {"type": "FP64", "shape": [2, 3]},
    "words": {"type": "STRING", "shape": [2]},
}


def echo_spec(name: str = "echo") -> dict[str, Any]:
    """An endpoint whose answer is its input, with every type."""
    columns = [{"name": column, "missing": True, **facts} for column, facts in TYPES.items()]
    return {
        "endpoint": name,
        "inputs": columns,
        "outputs": columns,
        "models": {"echo": {"role": "champion"}},
        "policy": {"deadline": "5s", "steps": [{"until": "4500ms", "take": "first"}], "otherwise": "error"},
    }


def sum_spec() -> dict[str, Any]:
    """A plain endpoint: nothing may be missing."""
    return {
        "endpoint": "sum",
        "inputs": [{"name": "a", "type": "FP64"}, {"name": "b", "type": "INT64"}, {"name": "tag", "type": "STRING"}],
        "outputs": [{"name": "total", "type": "FP64"}, {"name": "label", "type": "STRING"}],
        "models": {"plus": {"role": "champion"}},
        "policy": {
            "deadline": "5s",
            "steps": [{"until": "4500ms", "take": "first"}],
            "otherwise": {"total": -1.0, "label": "refer"},
        },
    }


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A router with the endpoints `echo` and `sum`, and their models."""
    folder: Path = tmp_path_factory.mktemp("rest")
    server = NatsServer(store=folder / "nats")
    server.start()
    stack = Stack(folder, server)
    try:
        for spec in (echo_spec(), sum_spec()):
            asyncio.run(stack.apply(spec))
        stack.start_router()
        stack.start_model("tests.rest.echo_models:echo", endpoint="echo")
        stack.start_model("tests.rest.echo_models:plus", endpoint="sum")
        yield stack
    finally:
        stack.stop()
        server.stop()


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """A client of any REST door."""
    with requests.Session() as session:
        yield session
