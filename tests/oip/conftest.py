"""A running installation for all tests of the Open Inference doors, and the programs that use tritonclient."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rendezvous_router.nats_server import NatsServer

from tests.support.stack import Stack
from toolchains.building import is_built
from toolchains.clients import CLIENTS, TRITONCLIENT, TRITONCLIENT_PYTHON

REST = re.compile(r"rest http://(\S+?:\d+)")
HERE = Path(__file__).parent
KINDS = [
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES", "STRING"),
]
POLICY = {
    "deadline": "10s",
    "steps": [{"until": "9s", "take": "best", "of": ["echo", "negated"]}],
    "otherwise": "error",
}
FLAVOURS = ("grpc", "grpc_aio", "http", "http_aio")


def column(name: str, kind: str, *shape: int) -> dict[str, Any]:
    """Returns a column that may be missing and, a float, NaN."""
    return {"name": name, "type": kind, "shape": list(shape), "missing": True, "nan": kind.startswith("FP")}


def endpoint(name: str, columns: list[dict[str, Any]], *, inputs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Returns an endpoint of two models that gives its columns back."""
    return {
        "endpoint": name,
        "inputs": columns if inputs is None else inputs,
        "outputs": columns,
        "models": {"echo": {"role": "champion"}, "negated": {"role": "challenger"}, "absent": {"role": "challenger"}},
        "policy": POLICY,
        "limits": {"max_rows": 100_000, "max_bytes": 700_000},
    }


ENDPOINTS = [
    endpoint("kinds", [column(kind.lower(), kind) for kind in KINDS]),
    endpoint("shaped", [column("vector", "FP32", 3), column("matrix", "INT16", 2, 2), column("texts", "STRING", 2)]),
    endpoint("pair", [{"name": "x", "type": "FP64"}, {"name": "flag", "type": "BOOL"}]),
    endpoint("lone", [{"name": "x", "type": "FP32", "shape": [4]}]),
    endpoint("any", [column("x", "FP64")], inputs=[]),
]
"""Endpoints of the installation; `sleepy` is another, whose model takes 0.5 s."""


@pytest.fixture(scope="session")
def triton_python() -> str:
    """The Python that has tritonclient."""
    if not is_built(CLIENTS[TRITONCLIENT]):
        pytest.skip("tritonclient is not prepared: make test, or .venv/bin/python -m toolchains prepare tritonclient")
    return str(TRITONCLIENT_PYTHON)


class Inference:
    """A running installation.

    Args:
        stack: what runs.
        rest: host and port of the REST door.
        python: has tritonclient; empty: it is not there.
    """

    def __init__(self, stack: Stack, rest: str, python: str) -> None:
        self.stack = stack
        self.grpc = stack.address
        self.rest = rest
        self._python = python

    def triton(self, flavour: str, requests: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Sends requests with tritonclient in one process; returns what it got for each (triton_client.py)."""
        address = self.grpc if flavour.startswith("grpc") else self.rest
        command = [self._python, "-W", "error::UserWarning", str(HERE / "triton_client.py"), flavour, address]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            command,
            input=json.dumps(requests),
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers


@pytest.fixture(scope="session")
def inference(tmp_path_factory: pytest.TempPathFactory, triton_python: str) -> Iterator[Inference]:
    """An installation with the endpoints of this module and their models."""
    folder = tmp_path_factory.mktemp("oip")
    server = NatsServer(store=folder / "nats")
    server.start()
    stack = Stack(folder, server)
    try:
        sleepy = {**endpoint("sleepy", [column("x", "FP64")]), "models": {"slow": {"role": "champion"}}}
        sleepy["policy"] = {"deadline": "5s", "steps": [{"until": "5s", "take": "first"}], "otherwise": "error"}
        for spec in (*ENDPOINTS, sleepy):
            asyncio.run(stack.apply(spec))
        router = stack.start_router("--rest-port", "0")
        found = REST.search(router.ready_line)
        assert found is not None, router.ready_line
        for spec in ENDPOINTS:
            for name in ("echo", "negated"):
                stack.start_model(f"tests.oip.models:{name}", endpoint=spec["endpoint"], name=name)
        stack.start_model("tests.oip.models:slow", endpoint="sleepy", name="slow")
        yield Inference(stack, found[1], triton_python)
    finally:
        stack.stop()
        server.stop()
