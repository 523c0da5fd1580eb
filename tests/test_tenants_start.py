"""A tenant whose router cannot start keeps nobody else waiting, leaves nothing open, and is served when it can be."""

import asyncio
import gc
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rendezvous_proto.errors import RendezvousError, UnauthenticatedError, UnavailableError
from rendezvous_proto.keys import Key
from rendezvous_router.app import Router
from rendezvous_router.limits import TenantLimits
from rendezvous_router.options import RouterOptions
from rendezvous_router.tenants.keys import make_key
from rendezvous_router.tenants.register import Register
from rendezvous_sdk import AsyncClient
from rendezvous_sdk.tasks import end_tasks

from tests.support.processes import Process
from tests.support.stack import ENDPOINT, eventually
from tests.support.tenants import TenantHouse

# nats-py leaves the transport of a connection open that the server has refused
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SPEC: dict[str, Any] = {**ENDPOINT, "models": {"first": {"role": "champion"}}}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[TenantHouse]:
    """The tenant bank, nothing else started yet."""
    made = TenantHouse(tmp_path, "bank")
    try:
        yield made
    finally:
        made.stop()
        gc.collect()


def write_register(house: TenantHouse, register: Register) -> None:
    """Changes the register; nats-server does not take it up."""
    with house.file.change() as change:
        change.register = register


def give_accounts(house: TenantHouse, jetstream: dict[str, str]) -> None:
    """Makes nats-server take up the register, with JetStream switched as told for some tenants."""
    document = json.loads(house.tenancy.accounts[len("accounts: ") :])
    for tenant, switch in jetstream.items():
        document[tenant]["jetstream"] = switch
    house.server.set_accounts(f"accounts: {json.dumps(document)}\n")
    os.kill(house.server.pid, signal.SIGHUP)


async def answer(house: TenantHouse, key: Key) -> str | type[RendezvousError]:
    """Returns the name of the endpoint that a key reaches, or the kind of refusal."""
    async with AsyncClient(house.stack.address, "sum", key=key.text) as client:
        try:
            return (await client.describe(timeout=5)).name
        except RendezvousError as error:
            return type(error)


async def is_answered(house: TenantHouse, key: Key, wanted: str | type[RendezvousError]) -> bool:
    """Whether a key ends in what is wanted."""
    return await answer(house, key) == wanted


def connections(house: TenantHouse) -> int:
    """Returns how many connections this process has to nats-server."""
    found = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr.port == house.server.port for each in found)


async def test_a_tenant_that_nats_does_not_know_keeps_nobody_waiting(house: TenantHouse) -> None:
    """The doors open for the others, its own clients are told to retry, and it is served once NATS knows it."""
    await house.apply("bank", SPEC)
    bank = house.add_key("bank", "score")
    write_register(house, house.register.with_tenant(house.file.new_tenant("fresh", TenantLimits())))
    started = time.monotonic()
    router = house.start_router()
    assert time.monotonic() - started < 15
    assert "not served yet, tried further: tenants fresh" in router.log.read_text()
    await eventually(lambda: is_answered(house, bank, "sum"), "the tenant that NATS knows is served")
    fresh = house.add_key("fresh", "score")
    await eventually(lambda: _is_applied(house, "fresh"), "nats-server has the account")
    await eventually(lambda: is_answered(house, fresh, "sum"), "the new tenant is served")


async def test_a_tenant_without_connections_left_keeps_nobody_waiting(house: TenantHouse) -> None:
    """Whose models hold every connection that it may have waits for one, alone."""
    house.change(house.register.with_tenant(house.file.new_tenant("busy", TenantLimits(connections=1))))
    await house.apply("bank", SPEC)
    held = await house.operator("busy")
    bank, busy = house.add_key("bank", "score"), house.add_key("busy", "score")
    house.start_router()
    await eventually(lambda: is_answered(house, bank, "sum"), "the other tenant is served")
    assert await answer(house, busy) is UnavailableError
    await held.close()
    await eventually(lambda: _is_not(house, busy, UnavailableError), "its router has found room")


async def test_a_router_that_cannot_start_leaves_no_connection(house: TenantHouse) -> None:
    """A start that is cancelled closes what it has opened."""
    give_accounts(house, {"bank": "disabled"})
    await asyncio.sleep(0.5)
    options = RouterOptions(nats_url=house.server.url)
    key = house.tenancy.key("router", "bank")
    assert connections(house) == 0
    starting = asyncio.create_task(Router.start(options, key=key))
    await eventually(lambda: _has_connections(house, 1), "it has connected")
    await asyncio.sleep(0.5)
    assert not starting.done()
    await end_tasks(starting)
    await eventually(lambda: _has_connections(house, 0), "its connection is closed", within_s=3.0)


async def test_a_start_that_failed_is_tried_again(house: TenantHouse) -> None:
    """A tenant whose router could not start is served when what stood in the way is gone."""
    router = house.start_router()
    secret = house.file.folder / "installation.secret"
    late = house.file.new_tenant("late", TenantLimits())
    secret.chmod(0o644)
    write_register(house, house.register.with_tenant(late))
    await eventually(lambda: _has_logged(router, "tenant late cannot be served, tried further"), "it is told")
    secret.chmod(0o600)
    key = house.add_key("late", "score")
    await eventually(lambda: _is_applied(house, "late"), "nats-server has the account")
    await eventually(lambda: is_answered(house, key, "sum"), "it is served")
    assert router.log.read_text().count("tenant late cannot be served") == 1


async def test_a_register_that_vanishes_stays_in_force(house: TenantHouse) -> None:
    """Keys go on being told apart by the last register, the loss is told, and one that is put back is taken up."""
    await house.apply("bank", SPEC)
    key = house.add_key("bank", "score")
    router = house.start_router()
    await eventually(lambda: is_answered(house, key, "sum"), "the tenant is served")
    kept = house.file.path.read_bytes()
    house.file.path.unlink()
    await eventually(lambda: _has_logged(router, "is gone: restore it"), "the loss is told")
    assert await answer(house, key) == "sum"
    assert await answer(house, make_key()) is UnauthenticatedError
    house.file.path.write_bytes(kept)
    house.revoke(key)
    await eventually(lambda: is_answered(house, key, UnauthenticatedError), "changes are taken up again")


async def _has_connections(house: TenantHouse, number: int) -> bool:
    return connections(house) == number


async def _has_logged(process: Process, text: str) -> bool:
    return text in process.log.read_text()


async def _is_not(house: TenantHouse, key: Key, refused: type[RendezvousError]) -> bool:
    return await answer(house, key) is not refused


async def _is_applied(house: TenantHouse, tenant: str) -> bool:
    """Applies the endpoint; nats-server takes up a new account a moment after it was told to."""
    try:
        await house.apply(tenant, SPEC)
    except UnauthenticatedError:
        return False
    return True
