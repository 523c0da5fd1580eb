"""The scorecards of every language together: they agree, the demo shows it, and the guide leads to one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView
from rendezvous_router.nats_server import find_free_port

from tests.support.guide import Reader
from tests.support.languages import require_language
from tests.support.processes import Process
from tests.support.scorecards import COMMANDS, HERE, applicants, load_reference, table
from toolchains.building import is_built
from toolchains.languages import LANGUAGES, R_LIBRARY, ROOT
from toolchains.tools import find_gaps


@pytest.mark.parametrize("language", ["java", "r"])
def test_sdk_answers_equal_python(language: str, tmp_path: Path) -> None:
    """The scorecards on the other SDKs give the answers of the Python one, too."""
    require_language(language)
    port = find_free_port()
    env = {"RENDEZVOUS_ENDPOINT": "scorecard", "RENDEZVOUS_MODEL": language, "RENDEZVOUS_GRPC_PORT": str(port)}
    env |= {"RENDEZVOUS_NATS": f"nats://127.0.0.1:{find_free_port()}", "R_LIBS": str(R_LIBRARY)}  # gRPC needs no NATS
    process = Process(COMMANDS[language].split(), log=tmp_path / "log", ready="ready: ", env=env, cwd=ROOT)
    rows = applicants(1000, 11, lowest=1 - 2**63)  # the lowest INT64 is R's NA, and its SDK refuses it by name
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            request = v1.ScoreRequest(inputs=table(rows))
            reply = v1.ScoreStub(channel).Score(request, timeout=60, wait_for_ready=True)
    finally:
        process.kill()
    actual, expected = FrameView(reply.outputs).to_dict(), load_reference().score(rows)
    assert actual["label"] == expected["label"]
    assert actual["default_probability"] == pytest.approx(expected["default_probability"], rel=0, abs=1e-12)


@pytest.mark.timeout(300)
def test_the_guide_leads_to_an_answer(tmp_path: Path) -> None:
    """Every command of the guide, typed in the repository's root, prints what the guide shows."""
    require_language("go")
    for name in ("proto", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    with Reader(tmp_path) as reader:
        reader.ports["9001"] = find_free_port()
        assert reader.follow(ROOT / "docs" / "guides" / "any-language.md") >= 7


@pytest.mark.timeout(240)
def test_polyglot() -> None:
    """The demo runs every language that is built in one endpoint; all answer all requests, and agree."""
    for language in LANGUAGES:
        if os.environ.get("CI"):
            require_language(language)
    done = subprocess.run(
        [sys.executable, str(HERE / "polyglot.py")], capture_output=True, text=True, timeout=220, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = [language.title for name, language in LANGUAGES.items() if is_built(language) and not find_gaps(language)]
    for title in ("Python", *built):
        assert re.search(rf"│ {re.escape(title)} .*│ 200 of 200 │ +100% │", done.stdout), done.stdout
    assert "Everything is stopped again." in done.stdout
