"""The scorecards of `examples/any-language`: how they are run and asked, and whom they are asked about."""

import importlib
import sys
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import grpc
import pytest
import yaml
from rendezvous_proto import v1
from rendezvous_proto.errors import ERROR_METADATA_KEY
from rendezvous_proto.frames import encode_frame

from tests.support.processes import Process
from toolchains.languages import ROOT

HERE = ROOT / "examples" / "any-language"
COMMANDS: dict[str, str] = yaml.safe_load((HERE / "languages.yaml").read_text())
BARE = ("go", "node", "cpp", "rust")
"""Languages whose programs speak gRPC only."""
TYPES = {
    "checking_account": "STRING",
    "duration_months": "INT64",
    "credit_amount": "FP64",
    "age_years": "INT64",
}


def load_reference() -> ModuleType:
    """Returns the scorecard in Python."""
    sys.path.insert(0, str(HERE / "python"))
    try:
        return importlib.import_module("scorecard")
    finally:
        sys.path.remove(str(HERE / "python"))


class Served:
    """A running scorecard with a channel to it."""

    def __init__(self, language: str, log: Path) -> None:
        env = {"RENDEZVOUS_ENDPOINT": "scorecard", "RENDEZVOUS_MODEL": f"{language}-card", "RENDEZVOUS_VERSION": "1.2"}
        self.name = env["RENDEZVOUS_MODEL"]
        self.process = Process(COMMANDS[language].split(), log=log, ready="ready: ", env=env, cwd=ROOT)
        self.ready = self.process.wait_ready()
        self.address = self.ready.rsplit(" ", 1)[-1]
        self.channel = grpc.insecure_channel(self.address)
        self.stub = v1.ScoreStub(self.channel)

    def score(self, inputs: v1.Frame, **fields: Any) -> v1.ScoreReply:
        """Scores one frame."""
        reply: v1.ScoreReply = self.stub.Score(v1.ScoreRequest(inputs=inputs, **fields), timeout=10)
        return reply

    def refusal(self, request: v1.ScoreRequest) -> tuple[grpc.StatusCode, v1.Error]:
        """Returns status and error of a request that must be refused."""
        with pytest.raises(grpc.RpcError) as caught:
            self.stub.Score(request, timeout=10)
        error = caught.value
        whole = dict(error.trailing_metadata()).get(ERROR_METADATA_KEY)
        assert whole is not None, error.details()
        parsed = v1.Error.FromString(whole)
        assert parsed.message == error.details()
        return error.code(), parsed

    def close(self) -> int:
        """Ends the process; returns its exit status."""
        self.channel.close()
        return self.process.stop()


def applicants(count: int, seed: int, lowest: int = -(2**63)) -> list[dict[str, Any]]:
    """Returns applicants at random, with missing values, extremes and texts that are not ASCII."""
    random = Random(seed)
    texts = ["... < 0 DM", "no checking account", "0 <= ... < 200 DM", "", "übrig", None]
    wide = [0.0, -1e-300, 1e308, -1e308, 15_000.0, 999.999, None]
    long = [lowest, 2**63 - 1, 2**53 + 1, 0, 12, 13, 36, 37]
    return [
        {
            "checking_account": random.choice(texts),
            "duration_months": random.choice([*long, *range(4, 73)]),
            "credit_amount": random.choice([random.uniform(250.0, 20_000.0)] * 4 + [random.choice(wide)]),
            "age_years": random.choice([lowest, 2**63 - 1, *range(18, 80)]),
        }
        for _ in range(count)
    ]


def table(rows: list[dict[str, Any]]) -> v1.Frame:
    """Returns applicants as a frame."""
    return encode_frame({name: [row[name] for row in rows] for name in TYPES}, types=TYPES)


def sound() -> v1.Frame:
    """Returns three applicants, one with missing values."""
    return table([*applicants(3, 1)[:2], dict.fromkeys(TYPES, None) | {"duration_months": 12, "age_years": 30}])
