"""What the Compose files and Dockerfiles say, as Docker Compose reads them; no engine is needed."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.compose.images import FILES
from toolchains.languages import ROOT

SETS = {"one of each": ["compose.yaml"], "scaled": ["compose.yaml", "compose.scale.yaml"]}
DOCKERFILES = sorted((FILES / "images").glob("*.Dockerfile"))
LOCKS = sorted((FILES / "images").glob("*.lock"))
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;]+)", re.MULTILINE)


@pytest.fixture(params=SETS.values(), ids=SETS.keys())
def project(request: pytest.FixtureRequest, compose: str) -> dict[str, Any]:
    """A set of files as `docker compose config` understands it."""
    options = [word for name in request.param for word in ("--file", str(FILES / name))]
    done = subprocess.run(
        [compose, *options, "config", "--format", "json"],
        env={**os.environ, "DOCKER_HOST": "unix:///nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_ports_are_published_on_this_machine_only(project: dict[str, Any]) -> None:
    """Nothing of the stack can be reached from another machine, and nothing is published twice."""
    published = [port for service in project["services"].values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    numbers = [port["published"] for port in published]
    assert len(set(numbers)) == len(numbers) >= 4


def test_every_service_is_locked_down(project: dict[str, Any]) -> None:
    """Each has a read-only root file system, no capabilities, no new privileges; what stays up has time to stop."""
    for name, service in project["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "volume" in name or "cap_add" not in service, name


def test_images_that_are_pulled_are_pinned(project: dict[str, Any]) -> None:
    """An image that is not built here has a version in its tag."""
    for name, service in project["services"].items():
        if "build" not in service:
            assert re.fullmatch(r"[^:]+:v?\d+\.\d+[\w.-]*", service["image"]), name


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_images_run_as_a_number_in_exec_form(path: Path) -> None:
    """Each image runs as a numbered user, is the process that gets SIGTERM, has a health check and a chosen base."""
    text = path.read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "10001:10001"
    assert "ARG BASE=debian:bookworm-slim\n" in text
    assert "\nSTOPSIGNAL SIGTERM\n" in text
    assert re.search(r"^HEALTHCHECK .* CMD \[", text, re.MULTILINE)
    assert all(command.startswith("[") for command in re.findall(r"^(?:CMD|ENTRYPOINT) (.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_images_have_the_versions_of_the_lock(path: Path) -> None:
    """Each image installs what requirements.lock pins, in the same version; else run compose/images/lock.sh."""
    wanted = set(_PIN.findall(path.read_text()))
    assert wanted
    assert wanted - set(_PIN.findall((ROOT / "requirements.lock").read_text())) == set()
