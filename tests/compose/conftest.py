"""The engine, the images and the stacks; without an engine the tests are skipped with the reason, and fail in CI."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.engine import Engine, EngineError, find_compose, open_engine
from tests.compose.images import Images
from tests.compose.stack import ComposeStack

# The docker package drops its sockets of finished answers without closing them.
_UNCLOSED = "ignore:[\\s\\S]*<socket\\.socket fd=\\d+, family=1:{category}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the docker package's unclosed sockets pass, in these tests only."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for category in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
                item.add_marker(pytest.mark.filterwarnings(_UNCLOSED.format(category=category)))


def _give_up(error: EngineError) -> None:
    if error.could_run and os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def compose() -> str:
    """The program Docker Compose."""
    try:
        return find_compose()
    except EngineError as error:
        _give_up(error)
        raise


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine."""
    try:
        found = open_engine()
    except EngineError as error:
        _give_up(error)
        raise
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="session")
def images(engine: Engine, compose: str) -> Images:
    """Every image that the stacks need."""
    try:
        built = Images(engine, compose)
        built.build()
    except EngineError as error:
        if error.could_run:  # an image that does not build is no reason to skip
            pytest.fail(str(error))
        _give_up(error)
        raise
    return built


@pytest.fixture(scope="module")
def stack(engine: Engine, compose: str, images: Images) -> Iterator[ComposeStack]:
    """The stack of compose.yaml, one of each."""
    with ComposeStack(engine, compose, images, name="rendezvous-test", files=["compose.yaml"]) as up:
        yield up


@pytest.fixture(scope="module")
def scaled(engine: Engine, compose: str, images: Images) -> Iterator[ComposeStack]:
    """Three nats-servers, two routers behind one address, two replicas of each model; nobody looks at them."""
    files = ["compose.yaml", "compose.scale.yaml"]
    watchers = ["otel-collector", "jaeger", "prometheus"]
    with ComposeStack(
        engine,
        compose,
        images,
        name="rendezvous-scale",
        files=files,
        without=watchers,
        variables={"OTEL_TRACES_SAMPLER": "always_off"},
    ) as up:
        yield up
