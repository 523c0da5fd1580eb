"""Configuration changes while requests flow."""

import asyncio
from typing import Any

import nats
import pytest
from rendezvous_proto.errors import UnknownEndpointError
from rendezvous_router.spec_store import SpecStore
from rendezvous_sdk import AsyncClient

from tests.support.stack import ENDPOINT, Stack, eventually


def with_champion(champion: str, models: list[str], deadline: str = "2s") -> dict[str, Any]:
    """Returns the endpoint's specification with another champion and other models."""
    return {
        **ENDPOINT,
        "models": {name: {"role": "champion" if name == champion else "challenger"} for name in models},
        "policy": {"deadline": deadline, "steps": [{"take": "best", "of": [champion]}], "otherwise": "error"},
    }


async def test_models_and_policy_change_with_no_failed_request(stack: Stack) -> None:
    """The champion is replaced, a model retired and another added, several times, under load: no request fails."""
    await stack.apply(with_champion("first", ["first", "second"]))
    stack.start_router()
    for name in ("first", "second", "third"):
        stack.start_model(f"tests.support.models:{name}")
    champions: list[str] = []
    stop = asyncio.Event()

    async def ask(client: AsyncClient) -> None:
        while not stop.is_set():
            answer = await client.score({"a": [1.0], "b": [2], "tag": ["x"]})
            assert list(answer["total"]) == [3.0]
            champions.append(answer.model)

    async with AsyncClient(stack.address, endpoint="sum") as client:
        asking = [asyncio.create_task(ask(client)) for _ in range(8)]
        for champion, models in [
            ("second", ["first", "second"]),
            ("third", ["second", "third"]),
            ("first", ["first", "second", "third"]),
            ("third", ["third"]),
        ]:
            await stack.apply(with_champion(champion, models))

            async def in_force(champion: str = champion) -> bool:
                return champions[-20:] == [champion] * 20

            await eventually(in_force, f"{champion} answers everything; now {champions[-20:]}")
        stop.set()
        await asyncio.gather(*asking)
    assert set(champions) == {"first", "second", "third"}


async def test_an_unusable_specification_leaves_the_last_good_one_in_force(stack: Stack) -> None:
    """A document that somebody wrote past the checks is logged and ignored."""
    await stack.apply(with_champion("first", ["first"]))
    router = stack.start_router()
    stack.start_model("tests.support.models:first")
    await stack.store_raw("sum", b'{"endpoint": "sum", "polcy": {}}')

    async def told() -> bool:
        return "polcy" in router.tail()

    await eventually(told, "the router logs the unusable document")
    async with AsyncClient(stack.address, endpoint="sum") as client:
        answer = await client.score({"a": [1.0], "b": [2], "tag": ["x"]})
    assert answer.model == "first"


async def test_requests_under_way_are_answered_though_their_endpoint_is_deleted(stack: Stack) -> None:
    """What was accepted before the deletion gets its model's answer; what comes after it is refused."""
    await stack.apply(with_champion("first", ["first"]))
    stack.start_router()
    stack.start_model("tests.support.models:slow", name="first")
    table = {"a": [1.0], "b": [2], "tag": ["x"]}
    async with AsyncClient(stack.address, endpoint="sum") as client:
        await client.describe()
        asking = [asyncio.create_task(client.score(table)) for _ in range(4)]
        await asyncio.sleep(0.2)  # of the 0.6 s that the model takes
        connection = await nats.connect(stack.server.url)
        assert await SpecStore(connection).delete("sum")
        await connection.close()

        async def is_refused() -> bool:
            return "sum" not in (await stack.status())["endpoints"]

        await eventually(is_refused, "the router knows of the deletion")
        assert [answer.model for answer in await asyncio.gather(*asking)] == ["first"] * 4
        with pytest.raises(UnknownEndpointError):
            await client.score(table)
