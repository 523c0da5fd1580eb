"""An installation with two tenants, one that is looked for and one that looks; and one of a single user to compare."""

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from rendezvous_proto.keys import Key
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.tenants.keys import make_key
from rendezvous_sdk import Client

from tests.support.stack import ENDPOINT, Stack
from tests.support.tenants import TenantHouse
from tests.tenants.probing import TABLE, Place, Prey

PREY_TENANT, STRANGER = "bank", "shop"


def spec_of(endpoint: str, model: str, description: str = "") -> dict[str, Any]:
    """Returns an endpoint of one model that takes rows of `tests.support.models`."""
    policy = {"deadline": "5s", "steps": [{"until": "4s", "take": "best", "of": [model]}], "otherwise": "error"}
    models = {model: {"role": "champion"}, "shared": {"role": "shadow"}}
    return {**ENDPOINT, "endpoint": endpoint, "models": models, "policy": policy, "description": description}


@dataclass(slots=True, kw_only=True)
class Town:
    """A running installation with the tenants bank (the prey) and shop (the stranger)."""

    house: TenantHouse
    """The installation."""
    place: Place
    """Where to knock."""
    folder: Path
    """Of all files."""
    theirs: Mapping[str, Key]
    """The prey's keys by what they are for."""
    strangers: Mapping[str, Key | None]
    """Keys of every kind that a stranger may have; None: no key."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """See `Town`. The prey has asked once, with rows and an id that nobody else may see."""
    folder = tmp_path_factory.mktemp("town")
    house = TenantHouse(folder, PREY_TENANT, STRANGER)
    try:
        yield _settle(house, folder)
    finally:
        house.stop()


@pytest.fixture(scope="module")
def hamlet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The same without tenants and keys: whoever comes sees everything."""
    folder = tmp_path_factory.mktemp("hamlet")
    server = NatsServer(store=folder / "nats")
    server.start()
    stack = Stack(folder, server)
    prey = Prey(canary=secrets.token_hex(8))
    try:
        for endpoint in (prey.endpoint, "sum"):
            asyncio.run(stack.apply(spec_of(endpoint, prey.model, f"about-{prey.canary}")))
        stack.start_router()
        for endpoint in (prey.endpoint, "sum"):
            stack.start_model("tests.support.models:second", endpoint=endpoint, name=prey.model)
        ask_all(stack.address, prey, None)
        yield Place(grpc=stack.address, rest=urlsplit(stack.rest).netloc, nats=server.url, prey=prey)
    finally:
        stack.stop()
        server.stop()


def ask_all(address: str, prey: Prey, key: Key | None, request_id: str = "") -> None:
    """Asks both of the prey's endpoints once, with its row; a repeated *request_id* would not be scored again."""
    for endpoint in (prey.endpoint, "sum"):
        with Client(address, endpoint, key=None if key is None else key.text) as client:
            answer = client.score({**TABLE, "tag": [prey.row]}, request_id=request_id or prey.request_id, timeout=20)
            assert answer.model == prey.model


def _settle(house: TenantHouse, folder: Path) -> Town:
    canary = secrets.token_hex(8)
    prey = Prey(canary=canary)
    for endpoint in (prey.endpoint, "sum"):
        asyncio.run(house.apply(PREY_TENANT, spec_of(endpoint, prey.model, f"about-{canary}")))
    asyncio.run(house.apply(STRANGER, spec_of("sum", "first")))
    theirs = {
        "score": house.add_key(PREY_TENANT, "score"),
        "control": house.add_key(PREY_TENANT, "control"),
        "model": house.add_key(PREY_TENANT, f"model:{prey.endpoint}/{prey.model}", f"model:sum/{prey.model}"),
    }
    for key in theirs.values():
        owner, record = house.register.find_key(key.id)
        house.change(house.register.with_key(owner.name, msgspec.structs.replace(record, note=f"note-{canary}")))
    strangers = _strangers(house, prey, theirs)
    house.start_router()
    for endpoint in (prey.endpoint, "sum"):
        house.start_model(theirs["model"], "tests.support.models:second", "--name", prey.model, endpoint=endpoint)
    version = f"v-{canary}"
    shared = house.add_key(PREY_TENANT, "model:sum/shared", versions=(version,))
    house.start_model(shared, "tests.support.models:third", "--name", "shared", "--version", version)
    own = house.add_key(STRANGER, "model:sum/first")
    house.start_model(own, "tests.support.models:first")
    prey = Prey(canary=canary, key_ids=tuple(key.id for key in theirs.values()))
    ask_all(house.stack.address, prey, theirs["score"])
    rest = urlsplit(house.stack.rest).netloc
    place = Place(grpc=house.stack.address, rest=rest, nats=house.server.url, prey=prey)
    return Town(house=house, place=place, folder=folder, theirs=theirs, strangers=strangers)


def _strangers(house: TenantHouse, prey: Prey, theirs: Mapping[str, Key]) -> dict[str, Key | None]:
    def add(*scopes: str, **facts: Any) -> Key:
        return house.add_key(STRANGER, *scopes, **facts)

    revoked = add("score", "control")
    house.revoke(revoked)
    everything = ("score", "feedback", "control", f"model:{prey.endpoint}/{prey.model}", "model:sum/first")
    return {
        "none": None,
        "score": add("score"),
        "feedback": add("feedback"),
        "control": add("control"),
        "model": add("model:sum/first"),
        "model of their names": add(f"model:{prey.endpoint}/{prey.model}"),
        "everything": add(*everything),
        "revoked": revoked,
        "expired": add("score", "control", expires_unix_s=int(time.time()) - 5),
        "made up": make_key(),
        "their id, own secret": Key(theirs["score"].id, make_key().secret),
        "their model's id, own secret": Key(theirs["model"].id, make_key().secret),
    }
