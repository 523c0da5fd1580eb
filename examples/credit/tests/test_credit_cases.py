"""The champion passes the checks that a candidate of this endpoint has to pass before it is published."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.credit.train import train

CREDIT = Path(__file__).resolve().parents[1]
RUN = "rendezvous-model serve examples.credit.boosted:Boosted --endpoint credit --name boosted"


@pytest.fixture(scope="module", autouse=True)
def _trained() -> None:
    train()


@pytest.mark.timeout(240)
def test_the_champion_passes_the_cases() -> None:
    """`rendezvous test` with the example's file of cases does every check of it, and ends with status 0."""
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(CREDIT.parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    command = [str(programs / "rendezvous"), "test", "--model", "boosted:2", "--cases", str(CREDIT / "cases.yaml")]
    command += ["--run", RUN, "--start-limit", "90s", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)
    assert done.stdout, done.stderr
    results = json.loads(done.stdout)["results"]
    assert {result["id"]: result["detail"] for result in results if result["status"] != "passed"} == {}
    assert {result["group"] for result in results} == {
        "golden", "invariance", "monotonic", "missing", "extremes", "latency", "memory"
    }  # fmt: skip
    assert done.returncode == 0
