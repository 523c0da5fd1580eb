"""Tenants of one installation, end to end: keys open what is theirs, and nothing else exists for them."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rendezvous_proto.errors import (
    PermissionDeniedError,
    RendezvousError,
    UnauthenticatedError,
    UnknownEndpointError,
)
from rendezvous_proto.keys import Key
from rendezvous_proto.postbox import durable_stream
from rendezvous_router.limits import TenantLimits
from rendezvous_router.tenants.keys import make_key
from rendezvous_sdk import AsyncClient

from tests.support.stack import ENDPOINT, eventually
from tests.support.tenants import TenantHouse

ROWS = {"a": [1.0], "b": [2], "tag": ["x"]}
SPEC: dict[str, Any] = {**ENDPOINT, "models": {"first": {"role": "champion"}}}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[TenantHouse]:
    """The tenants bank and shop, nothing else started yet."""
    made = TenantHouse(tmp_path, "bank", "shop")
    try:
        yield made
    finally:
        made.stop()


async def ask(house: TenantHouse, key: Key | None, endpoint: str = "sum") -> dict[str, Any]:
    """Scores one row and returns the first row of the answer."""
    text = None if key is None else key.text
    async with AsyncClient(house.stack.address, endpoint, key=text) as client:
        answer = await client.score(ROWS, timeout=8)
        return answer.to_records()[0]


async def refusal(house: TenantHouse, key: Key | None, endpoint: str = "sum") -> RendezvousError:
    """Returns the error that a request ends in."""
    with pytest.raises(RendezvousError) as caught:
        await ask(house, key, endpoint)
    return caught.value


async def kept(house: TenantHouse, tenant: str, endpoint: str = "sum") -> int:
    """Returns how many messages a tenant's record of an endpoint has."""
    client = await house.operator(tenant)
    try:
        return int((await client.jetstream().stream_info(durable_stream(endpoint))).state.messages)
    finally:
        await client.close()


async def test_each_tenants_models_answer_its_own_clients(house: TenantHouse) -> None:
    """Two tenants have endpoints of the same name; a key reaches its own tenant's, and the other's record stays empty.

    The models have keys that allow them nothing but their own consumer: the router has made it.
    """
    for tenant in ("bank", "shop"):
        await house.apply(tenant, SPEC)
    house.start_router()
    bank, shop = house.add_key("bank", "score"), house.add_key("shop", "score")
    house.start_model(house.add_key("bank", "model:sum/first"), "tests.support.models:first")
    before = await kept(house, "shop")
    assert (await ask(house, bank))["total"] == 3.0
    assert await kept(house, "shop") == before
    house.start_model(house.add_key("shop", "model:sum/first"), "tests.support.models:first")
    assert (await ask(house, shop))["total"] == 3.0


async def test_a_foreign_endpoint_is_an_unknown_one(house: TenantHouse) -> None:
    """What another tenant has and what nobody has end in the same words."""
    await house.apply("bank", {**SPEC, "endpoint": "secret"})
    await house.apply("shop", SPEC)
    house.start_router()
    shop = house.add_key("shop", "score")
    await eventually(lambda: _is(house, shop, UnknownEndpointError), "the key is known", within_s=3.0)
    foreign, unknown = await refusal(house, shop, "secret"), await refusal(house, shop, "secres")
    assert isinstance(foreign, UnknownEndpointError)
    assert foreign.message.replace("secret", "NAME") == unknown.message.replace("secres", "NAME")


async def test_keys_that_are_not_valid_all_look_the_same(house: TenantHouse) -> None:
    """No key, an unknown, a wrong, an expired and a revoked one end in the same error, and nothing is kept."""
    await house.apply("bank", SPEC)
    house.start_router()
    good = house.add_key("bank", "score")
    expired = house.add_key("bank", "score", expires_unix_s=int(time.time()) - 1)
    revoked = house.add_key("bank", "score")
    house.revoke(revoked)
    keys = [None, make_key(), Key(good.id, make_key().secret), expired, revoked]
    await asyncio.sleep(0.5)  # the router looks at the register five times a second
    errors = [await refusal(house, key) for key in keys]
    assert {type(error) for error in errors} == {UnauthenticatedError}
    assert len({error.message for error in errors}) == 1
    assert await kept(house, "bank") == 0


async def test_a_key_without_the_scope_is_told_so(house: TenantHouse) -> None:
    """Keys for other things than scores do not score."""
    await house.apply("bank", SPEC)
    house.start_router()
    for scope in ("feedback", "control", "model:sum/first"):
        key = house.add_key("bank", scope)
        await eventually(lambda key=key: _is(house, key, PermissionDeniedError), f"{scope} does not score")
        assert key.secret not in (await refusal(house, key)).message
    assert await kept(house, "bank") == 0


async def test_a_revoked_key_is_refused_within_a_second(house: TenantHouse) -> None:
    """A client's key ends within a second of its revocation, a model's connection too; others are not disturbed."""
    await house.apply("bank", SPEC)
    house.start_router()
    client, other = house.add_key("bank", "score"), house.add_key("bank", "score")
    model = house.add_key("bank", "model:sum/first")
    house.start_model(model, "tests.support.models:first")
    assert (await ask(house, client))["total"] == 3.0
    house.revoke(client)
    revoked_at = time.monotonic()
    await eventually(lambda: _is(house, client, UnauthenticatedError), "revoked")
    assert time.monotonic() - revoked_at < 1.0
    assert (await ask(house, other))["total"] == 3.0
    house.revoke(model)
    await asyncio.sleep(1.0)
    assert (await ask(house, other))["total"] == -1.0, "the policy answers without the model that was sent away"


async def test_tenants_come_and_go_without_a_restart(house: TenantHouse) -> None:
    """A tenant added while the router runs is served; removed, its key is refused like any unknown one."""
    house.start_router()
    house.change(house.register.with_tenant(house.file.new_tenant("late", TenantLimits())))
    await house.apply("late", SPEC)
    key = house.add_key("late", "score")
    house.start_model(house.add_key("late", "model:sum/first"), "tests.support.models:first")
    await eventually(lambda: _answers(house, key), "the new tenant is served")
    house.change(house.register.without_tenant("late"))
    await eventually(lambda: _is(house, key, UnauthenticatedError), "the removed tenant is refused")


async def test_a_shared_endpoints_requests_reach_the_receivers_models(house: TenantHouse) -> None:
    """The receiver's model scores the owner's requests in the receiver's postbox; the owner's answer is its own."""
    await house.apply("bank", SPEC)
    await house.apply("shop", {**SPEC, "endpoint": "bank-sum"})
    house.share("bank", "sum", "shop", "bank-sum")
    house.start_router()
    bank = house.add_key("bank", "score")
    house.start_model(house.add_key("bank", "model:sum/first"), "tests.support.models:first")
    watching = house.add_key("shop", "model:bank-sum/first")
    house.start_model(watching, "tests.support.models:first", endpoint="bank-sum")
    assert (await ask(house, bank))["total"] == 3.0
    client = await house.operator("shop")
    try:

        async def is_scored() -> bool:
            return (await client.jetstream().stream_info("RV_bank-sum_SCORES")).state.messages == 1

        await eventually(is_scored, "the receiver's model has scored the request")
        assert await kept(house, "shop", "bank-sum") == 1
    finally:
        await client.close()


async def test_no_key_is_ever_written_down(house: TenantHouse, tmp_path: Path) -> None:
    """After use and abuse of keys no file of the installation, log or register, has a secret of any."""
    await house.apply("bank", SPEC)
    house.start_router(env={"RENDEZVOUS_LOG_LEVEL": "debug"})
    keys = [house.add_key("bank", "score"), house.add_key("bank", "control"), house.add_key("bank", "model:sum/first")]
    model = house.start_model(keys[2], "tests.support.models:first")
    wrong = make_key()
    for key in (*keys, wrong, Key(keys[0].id, wrong.secret)):
        await _is(house, key, RendezvousError)
    model.stop()
    files = await asyncio.to_thread(lambda: list(tmp_path.rglob("*")))
    secrets = [key.secret for key in (*keys, wrong)]
    secrets += [house.tenancy.key(role, "bank").secret for role in ("router", "decoy", "models")]
    found = [
        (path.name, number)
        for path in files
        if path.is_file()
        for number, secret in enumerate(secrets)
        if secret.encode() in path.read_bytes()
    ]
    assert not found


async def _is(house: TenantHouse, key: Key, kind: type[RendezvousError]) -> bool:
    try:
        await ask(house, key, "nothing" if kind is UnknownEndpointError else "sum")
    except RendezvousError as error:
        return isinstance(error, kind)
    return False


async def _answers(house: TenantHouse, key: Key) -> bool:
    try:
        return (await ask(house, key))["total"] == 3.0
    except RendezvousError:
        return False
