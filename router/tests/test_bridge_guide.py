"""The guide to bridges holds: its commands are run, before a real MLServer."""

import re
from pathlib import Path

import pytest
from rendezvous_router.nats_server import find_free_port

from bench.mlserver import ensure_installed
from tests.support import guide


@pytest.mark.timeout(900)  # MLServer's environment may have to be installed first
def test_the_guide_joins_two_model_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an empty folder to an endpoint with a model in MLServer and one behind bare gRPC."""
    programs = ensure_installed().parent
    monkeypatch.setattr(guide, "_READY", guide._READY + "|.*gRPC server running")
    with guide.Reader(tmp_path) as reader:
        reader.ports |= {port: find_free_port() for port in ("8080", "8081", "8082", "9001")}
        reader._environment["PATH"] = re.sub(":", f":{programs}:", reader._environment["PATH"], count=1)
        reader._environment["OMP_NUM_THREADS"] = "1"
        assert reader.follow(guide.ROOT / "docs" / "guides" / "bridge.md") == 8
