"""A bridge before a real MLServer from PyPI with a scikit-learn model, over gRPC and REST."""

import http.client
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.typing import NDArray
from rendezvous_router.nats_server import NatsServer, find_free_port
from rendezvous_sdk import AsyncClient
from sklearn.linear_model import LogisticRegression

from bench.mlserver import ensure_installed
from tests.support.processes import Process, script
from tests.support.stack import Stack

SPEC: dict[str, Any] = {
    "endpoint": "risk",
    "inputs": [
        {"name": "age", "type": "INT64"},
        {"name": "income", "type": "FP64", "missing": True},
        {"name": "debt", "type": "FP32"},
        {"name": "purpose", "type": "STRING"},
    ],
    "outputs": [{"name": "probability", "type": "FP64"}, {"name": "label", "type": "INT64"}],
    "models": {"logit": {"role": "champion"}},
    "policy": {"deadline": "10s", "steps": [{"take": "best"}], "otherwise": "error"},
}
MAPPING = """
inputs: {x: {pack: [age, income, debt], datatype: FP64}}
outputs:
  probability: {tensor: predict_proba, index: 1}
  label: {tensor: predict}
missing: {income: 0.5}
"""


@dataclass
class Served:
    """MLServer with one model."""

    ports: dict[str, int]
    model: LogisticRegression


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running MLServer."""
    python = ensure_installed()
    folder = tmp_path_factory.mktemp("mlserver")
    rng = np.random.default_rng(7)
    features = rng.standard_normal((400, 3))
    model = LogisticRegression().fit(features, features @ [1.0, -2.0, 0.5] > rng.standard_normal(400))
    model.classes_ = model.classes_.astype(int)
    joblib.dump(model, folder / "model.joblib")
    ports = {kind: find_free_port() for kind in ("http", "grpc", "metrics")}
    settings = {f"{kind}_port": port for kind, port in ports.items()}
    (folder / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **settings})
    )
    (folder / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "logit",
                "implementation": "mlserver_sklearn.SKLearnModel",
                "parameters": {"uri": str(folder / "model.joblib"), "version": "v1"},
            }
        )
    )
    process = Process(
        [str(python.parent / "mlserver"), "start", str(folder)], log=folder / "log", ready="-", env=_environment()
    )
    try:
        _wait_ready(process, ports["http"])
        yield Served(ports, model)
    finally:
        process.kill()


@pytest.fixture
def stack(tmp_path: Path, nats_server: NatsServer) -> Iterator[Stack]:
    """An installation with nothing in it but a running nats-server."""
    installation = Stack(tmp_path, nats_server)
    try:
        yield installation
    finally:
        installation.stop()


@pytest.mark.timeout(900)  # the environment may have to be installed first
@pytest.mark.parametrize(("scheme", "port"), [("oip+grpc", "grpc"), ("oip+http", "http")])
async def test_answers_are_those_of_the_model_called_directly(
    stack: Stack, mlserver: Served, scheme: str, port: str
) -> None:
    """Rows scored through endpoint, bridge and MLServer equal scikit-learn's own; a missing value has its default."""
    await stack.apply(SPEC)
    stack.start_router()
    (stack.folder / "mapping.yaml").write_text(MAPPING)
    to = f"{scheme}://127.0.0.1:{mlserver.ports[port]}/logit/v1"
    command = [script("rendezvous"), "bridge", "--endpoint", "risk", "--model", "logit:1", "--to", to]
    options = ["--nats", stack.server.url, "--mapping", str(stack.folder / "mapping.yaml")]
    bridge = Process([*command, *options], log=stack.folder / "bridge.log", ready="ready")
    stack.processes.append(bridge)
    bridge.wait_ready()
    rng = np.random.default_rng(8)
    table = {
        "age": rng.integers(-2, 3, 5000),
        "income": [None, *rng.standard_normal(4999).tolist()],
        "debt": rng.standard_normal(5000).astype(np.float32),
        "purpose": ["car"] * 5000,
    }
    async with AsyncClient(stack.address, endpoint="risk") as client:
        answer = await client.score(table, timeout=20)
    features = _features(table)
    assert answer.model == "logit"
    assert answer["probability"].tolist() == mlserver.model.predict_proba(features)[:, 1].tolist()
    assert answer["label"].tolist() == mlserver.model.predict(features).tolist()
    assert bridge.stop() == 0


def _features(table: dict[str, Any]) -> NDArray[np.float64]:
    income = [0.5 if value is None else value for value in table["income"]]
    return np.stack([table["age"], income, table["debt"]], axis=1).astype(np.float64)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"}


def _wait_ready(process: Process, port: int) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        assert process.popen.poll() is None, process.tail()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/v2/models/logit/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    pytest.fail(f"MLServer was not ready within 60 s:\n{process.tail()}")
