"""Three nats-servers, two routers, two replicas of each model in real containers; one after another is killed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.compose.load import Load
from tests.compose.stack import MODELS, ComposeStack

pytestmark = pytest.mark.timeout(900)

NODES = ("nats", "nats-2", "nats-3")
PATIENCE_S = 90.0
"""Clients' deadline. How long a fail-over takes is measured with processes (tests/cluster): here twenty containers
share the machine, and servers that starve elect each other anew."""


def read_streams(stack: ComposeStack, node: str) -> list[dict[str, Any]]:
    """Returns what a nats-server says of the endpoint's streams."""
    page = json.loads(stack.run(node, "wget", "-q", "-O", "-", "http://127.0.0.1:8222/jsz?streams=true"))
    accounts = page.get("account_details", [])
    return [stream for account in accounts for stream in account.get("stream_detail", [])]


def leader_of(stack: ComposeStack, name: str) -> str:
    """Returns the nats-server that leads a stream."""
    for node in NODES:
        for stream in read_streams(stack, node):
            if stream["name"] == name and stream.get("cluster", {}).get("leader"):
                return str(stream["cluster"]["leader"])
    raise AssertionError(f"nobody leads {name}")


def test_models_and_routers_are_there_twice(scaled: ComposeStack) -> None:
    """Two containers of each model and of the router, all healthy; the endpoint's stream on three servers."""
    assert all(len(scaled.containers(service)) == 2 for service in (*MODELS, "router"))
    assert scaled.is_healthy("router")
    stream = next(each for each in read_streams(scaled, leader_of(scaled, "RV_credit")) if each["name"] == "RV_credit")
    assert len(stream["cluster"]["replicas"]) == 2


def kill_a_node(stack: ComposeStack) -> Callable[[], str]:
    """A nats-server that does not lead the endpoint's stream."""
    return lambda: next(node for node in NODES if node != leader_of(stack, "RV_credit"))


def kill_the_leader(stack: ComposeStack) -> Callable[[], str]:
    """The nats-server that leads the endpoint's stream."""
    return lambda: leader_of(stack, "RV_credit")


def kill_a_router(stack: ComposeStack) -> Callable[[], str]:
    """One router of two."""
    return lambda: "router"


@pytest.mark.parametrize("whom", [kill_a_node, kill_the_leader, kill_a_router])
def test_nothing_accepted_is_lost_when_one_dies(
    scaled: ComposeStack, whom: Callable[[ComposeStack], Callable[[], str]]
) -> None:
    """At 50 requests a second one is killed and brought back: each request is answered once, in time, and archived."""
    victim = whom(scaled)()
    with Load(scaled.address, rate=50, timeout_s=PATIENCE_S) as load:
        scaled.wait(lambda: load.answered() > 50, "answers")
        scaled.container(victim).kill()
        killed = load.outcomes.sent
        scaled.wait(lambda: load.outcomes.sent > killed + 150 and load.answered() > killed + 50, "answers without it")
        scaled.container(victim).start()
        scaled.wait(lambda: scaled.is_healthy(victim), f"{victim} is healthy again")
        back = load.answered()
        scaled.wait(lambda: load.answered() > back + 50, "answers with it")
    load.outcomes.check()
    slowest_s = load.outcomes.slowest_s
    print(f"{victim}: {load.outcomes.sent} requests, the slowest took {slowest_s:.2f} s")
    assert slowest_s < PATIENCE_S
    report = scaled.verify_archive()
    assert report["is_complete"], report
    assert load.outcomes.answers.keys() <= scaled.archived_ids()
