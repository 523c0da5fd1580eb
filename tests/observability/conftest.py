"""Programs of the observers; where one is not there, its tests are skipped, and fail in continuous integration."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.observability.servers import JaegerServer
from toolchains.observability import JAEGER, OBSERVERS, PROMETHEUS, find_program


def require_program(observer: str, program: str) -> Path:
    """Returns the path of a program; skips the test where it is not there, with the reason."""
    path = find_program(observer, program)
    if path is not None:
        return path
    reason = f"{program} is not here: `python -m toolchains prepare {OBSERVERS[observer].name}` says what is missing"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The program that checks Prometheus' files."""
    return require_program(PROMETHEUS, "promtool")


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """Prometheus' server program."""
    return require_program(PROMETHEUS, "prometheus")


@pytest.fixture(scope="session")
def otelcol() -> Path:
    """The OpenTelemetry collector."""
    return require_program(JAEGER, "otelcol")


@pytest.fixture
def jaeger(tmp_path: Path) -> Iterator[JaegerServer]:
    """A running Jaeger that keeps traces in memory."""
    server = JaegerServer(require_program(JAEGER, "jaeger"), tmp_path)
    try:
        server.wait_ready()
        yield server
    finally:
        server.process.kill()
