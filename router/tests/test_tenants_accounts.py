"""The accounts as nats-server enforces them: what each kind of user may do, and that nothing else reaches anybody."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from rendezvous_proto.keys import Key, inbox_prefix
from rendezvous_router.cli import app
from rendezvous_router.limits import TenantLimits
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.tenants.accounts import accounts_text
from rendezvous_router.tenants.keys import derive_key, make_key, new_record
from rendezvous_router.tenants.register import Register, RegisterFile, Share
from rendezvous_router.tenants.tenancy import Tenancy
from typer.testing import CliRunner

SETTLE_S = 0.3

# nats-py leaves the transport of a connection open that the server has closed or refused
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@dataclass
class House:
    """A server with the tenants a and b, both with the same endpoint, and users of every kind."""

    server: NatsServer
    file: RegisterFile
    tenancy: Tenancy
    keys: dict[str, Key]
    clients: AsyncExitStack

    async def connect(self, key: Key) -> Client:
        """Connects as the owner of a key."""
        errors: list[Exception] = []

        async def note(error: Exception) -> None:
            errors.append(error)

        client = await nats.connect(
            self.server.url,
            user=key.id,
            password=key.secret,
            inbox_prefix=inbox_prefix(key).encode(),
            allow_reconnect=False,
            error_cb=note,
        )
        client.noted_errors = errors
        self.clients.push_async_callback(client.close)
        return client

    async def router(self, tenant: str) -> Client:
        """Connects as a tenant's router."""
        return await self.connect(derive_key(self.file.secret(), tenant, "router"))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """See `House`."""
    file = RegisterFile(tmp_path / "tenants")
    keys: dict[str, Key] = {}
    with file.change() as change:
        for tenant in ("a", "b"):
            change.register = change.register.with_tenant(file.new_tenant(tenant, TenantLimits()))
            for kind, scope in (("model", "model:credit/boosted"), ("control", "control"), ("score", "score")):
                keys[f"{tenant}.{kind}"] = key = make_key()
                change.register = change.register.with_key(tenant, new_record(key, [scope]))
    tenancy = Tenancy(file.folder, "a")
    server = NatsServer(store=tmp_path / "nats", accounts=tenancy.accounts)
    server.start()
    try:
        async with AsyncExitStack() as clients:
            made = House(server, file, tenancy, keys, clients)
            for tenant in ("a", "b"):
                js = (await made.router(tenant)).jetstream()
                subjects = ["rv.credit.raw", "rv.credit.input", "rv.credit.decision", "rv.credit.feedback"]
                await js.add_stream(name="RV_credit", subjects=subjects)
                for bucket in ("rv_models", "rv_replicas", "rv_endpoints"):
                    await js.create_key_value(bucket=bucket)
                for consumer in ("boosted__1", "logit__1"):
                    await js.add_consumer(
                        "RV_credit", ConsumerConfig(durable_name=consumer, ack_policy=AckPolicy.EXPLICIT, ack_wait=30)
                    )
                await js.publish("rv.credit.input", f"secret of {tenant}".encode())
            yield made
    finally:
        server.stop()
        gc.collect()


async def test_a_model_reads_its_own_consumer_and_answers(house: House) -> None:
    """A model's key pulls its parcels, acknowledges them, registers and publishes its scores."""
    client = await house.connect(house.keys["a.model"])
    watcher = await house.router("a")
    scores: asyncio.Queue[Msg] = asyncio.Queue()
    await watcher.subscribe("rv.*.score.*.r1", cb=scores.put)
    await watcher.flush()
    got: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = f"{inbox_prefix(house.keys['a.model'])}.pull"
    await client.subscribe(inbox, cb=got.put)
    await client.publish("$JS.API.CONSUMER.MSG.NEXT.RV_credit.boosted__1", b'{"batch":1}', reply=inbox)
    parcel = await asyncio.wait_for(got.get(), 5)
    assert parcel.data == b"secret of a"
    await client.publish(parcel.reply, b"+ACK")
    await client.publish("rv.credit.score.boosted.r1", b"score")
    registered = await client.jetstream().key_value("rv_models")
    await registered.put("credit.boosted.1", b"{}")
    assert (await asyncio.wait_for(scores.get(), 5)).data == b"score"
    info = await watcher.jetstream().consumer_info("RV_credit", "boosted__1")
    assert (info.num_ack_pending, info.ack_floor.stream_seq) == (0, 1)
    assert not client.noted_errors


FORBIDDEN_TO_A_MODEL = [
    "$JS.API.CONSUMER.MSG.NEXT.RV_credit.logit__1",
    "$JS.API.CONSUMER.MSG.NEXT.RV_credit.boosted__2",
    "$JS.API.CONSUMER.INFO.RV_credit.logit__1",
    "$JS.API.CONSUMER.CREATE.RV_credit",
    "$JS.API.CONSUMER.CREATE.RV_credit.boosted__1.rv.credit.input",
    "$JS.API.CONSUMER.DURABLE.CREATE.RV_credit.boosted__1",
    "$JS.API.CONSUMER.DELETE.RV_credit.boosted__1",
    "$JS.API.CONSUMER.LIST.RV_credit",
    "$JS.API.STREAM.INFO.RV_credit",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.MSG.GET.RV_credit",
    "$JS.API.DIRECT.GET.RV_credit",
    "$JS.API.STREAM.DELETE.RV_credit",
    "$JS.API.STREAM.PURGE.RV_credit",
    "$JS.API.STREAM.SNAPSHOT.RV_credit",
    "$JS.API.STREAM.RESTORE.RV_credit",
    "$JS.API.INFO",
    "$JS.ACK.RV_credit.logit__1.1.1.1.1.0",
    "rv.credit.input",
    "rv.credit.decision",
    "rv.credit.feedback",
    "rv.credit.score.logit.r1",
    "rv.other.score.boosted.r1",
    "$KV.rv_endpoints.credit",
    "$KV.rv_models.credit.logit.1",
    "$KV.rv_replicas.credit.logit.1.x",
    "$SYS.REQ.SERVER.PING",
    "_INBOX.x",
]


async def test_a_model_may_publish_nowhere_else(house: House) -> None:
    """Each subject beyond a model's own is refused by the server, and none of them has an effect."""
    client = await house.connect(house.keys["a.model"])
    for subject in FORBIDDEN_TO_A_MODEL:
        await client.publish(subject, b"{}", reply=f"{inbox_prefix(house.keys['a.model'])}.x")
        await client.flush()
    await _eventually(lambda: len(client.noted_errors) >= len(FORBIDDEN_TO_A_MODEL), 3.0)
    refused = [str(error) for error in client.noted_errors]
    missing = [subject for subject in FORBIDDEN_TO_A_MODEL if not any(subject.lower() in each for each in refused)]
    assert not missing, f"not refused: {missing}"
    js = (await house.router("a")).jetstream()
    assert (await js.stream_info("RV_credit")).state.messages == 1


@pytest.mark.parametrize("kind", ["model", "control"])
@pytest.mark.parametrize(
    "subject", [">", "rv.>", "rv.credit.input", "$JS.>", "$KV.>", "_INBOX.>", "$SYS.>", "rv.*.score.*.*", "*.>"]
)
async def test_nobody_listens_in(house: House, kind: str, subject: str) -> None:
    """Neither a model's nor a control key may subscribe to what others publish, alone or in a queue group."""
    client = await house.connect(house.keys[f"a.{kind}"])
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    await client.subscribe(subject, cb=heard.put)
    await client.subscribe(subject, queue="group", cb=heard.put)
    await client.flush()
    await _eventually(lambda: len(client.noted_errors) >= 2, 3.0)
    for tenant in ("a", "b"):
        await (await house.router(tenant)).jetstream().publish("rv.credit.input", b"more")
    await asyncio.sleep(SETTLE_S)
    assert heard.empty()


async def test_a_control_key_rules_its_own_account_only(house: House) -> None:
    """A control key reads and changes its tenant's streams; the other's, of the same names, it cannot see."""
    client = await house.connect(house.keys["a.control"])
    js = client.jetstream()
    assert (await js.get_last_msg("RV_credit", "rv.credit.input")).data == b"secret of a"
    specs = await js.key_value("rv_endpoints")
    await specs.put("credit", b"{}")
    await js.delete_stream("RV_credit")
    theirs = (await house.router("b")).jetstream()
    assert (await theirs.stream_info("RV_credit")).state.messages == 1
    assert (await theirs.stream_info("KV_rv_endpoints")).state.messages == 0
    assert not client.noted_errors
    await client.publish("rv.credit.decision", b"forged")
    await client.flush()
    await _eventually(lambda: "permissions violation" in "".join(map(str, client.noted_errors)), 3.0)


async def test_a_clients_key_opens_no_connection_to_nats(house: House) -> None:
    """Keys for scores alone, unknown users and nobody at all are turned away."""
    wrong = make_key()
    for key in (house.keys["a.score"], wrong, Key(house.keys["a.model"].id, wrong.secret)):
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            await house.connect(key)
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await nats.connect(house.server.url, allow_reconnect=False, error_cb=_ignore)


async def test_a_revoked_key_is_cut_off_at_once(house: House) -> None:
    """Within a second of the change of the register a connected model is sent away, and the others are not."""
    client, other = await house.connect(house.keys["a.model"]), await house.connect(house.keys["b.model"])
    with house.file.change() as change:
        owner, record = change.register.find_key(house.keys["a.model"].id)
        change.register = change.register.with_key(owner.name, msgspec.structs.replace(record, revoked_unix_s=1))
    house.tenancy.follow(house.server, house.server.pid)
    await _eventually(lambda: client.is_closed, 1.0)
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await house.connect(house.keys["a.model"])
    await other.flush()
    assert other.is_connected


async def test_shared_input_arrives_and_nothing_else(house: House) -> None:
    """Who receives a shared endpoint's requests gets each in a postbox of its own; no more, no less."""
    ours, theirs = await house.router("a"), await house.router("b")
    with house.file.change() as change:
        share = Share(owner="a", endpoint="credit", receiver="b", alias="a-credit")
        change.register = msgspec.structs.replace(change.register, shares=(share,))
    house.tenancy.follow(house.server, house.server.pid)

    await _eventually(lambda: "Reloaded server configuration" in house.server.log.read_text(), 5.0)
    await _patiently(lambda: theirs.jetstream().add_stream(name="RV_a-credit", subjects=["rv.a-credit.*"]))

    async def count() -> int:
        info = await _patiently(lambda: theirs.jetstream().stream_info("RV_a-credit"))
        return int(info.state.messages)

    async def arrives() -> bool:
        await _patiently(lambda: ours.jetstream().publish("rv.credit.input", b"shared"))
        return bool(await count())

    await _eventually(arrives, 5.0)
    before = await count()
    await ours.jetstream().publish("rv.credit.decision", b"ours")
    await _patiently(lambda: theirs.jetstream().publish("rv.a-credit.input", b"theirs"))  # acknowledged: it is stored
    assert await count() == before + 1
    last = await _patiently(lambda: ours.jetstream().get_last_msg("RV_credit", "rv.credit.input"))
    assert last.data == b"shared"


async def test_storage_of_a_tenant_ends_at_its_limit(house: House) -> None:
    """A tenant at its storage limit is refused, and another one goes on writing."""
    ours, theirs = (await house.router("a")).jetstream(), (await house.router("b")).jetstream()
    with house.file.change() as change:
        tenant = msgspec.structs.replace(change.register.tenant("a"), limits=TenantLimits(storage_bytes=1 << 20))
        change.register = change.register.with_tenant(tenant)
    house.tenancy.follow(house.server, house.server.pid)

    async def is_full() -> bool:
        try:
            await ours.publish("rv.credit.input", bytes(400_000))
        except nats.js.errors.APIError:
            return True
        return False

    await _eventually(is_full, 5.0)
    await theirs.publish("rv.credit.input", bytes(400_000))


async def test_what_was_kept_before_there_were_tenants_is_the_heirs(tmp_path: Path) -> None:
    """The streams of a server without accounts are the project's own tenant's when accounts are introduced."""
    server = NatsServer(store=tmp_path / "nats")
    server.start()
    client = await nats.connect(server.url)
    await client.jetstream().add_stream(name="RV_credit", subjects=["rv.credit.input"])
    await client.jetstream().publish("rv.credit.input", b"early")
    await client.close()
    server.stop()
    tenancy = Tenancy(tmp_path / "tenants", "a")
    server = NatsServer(store=tmp_path / "nats", accounts=tenancy.accounts, heir="a")
    server.start()
    try:
        key = tenancy.key("router")
        client = await nats.connect(
            server.url, user=key.id, password=key.secret, inbox_prefix=inbox_prefix(key).encode()
        )
        assert (await client.jetstream().get_last_msg("RV_credit", "rv.credit.input")).data == b"early"
        await client.close()
    finally:
        server.stop()


def test_the_accounts_tell_no_secrets(tmp_path: Path) -> None:
    """What is printed for an existing NATS installation has hashes and no keys."""
    tenancy = Tenancy(tmp_path / "tenants", "a")
    text = tenancy.accounts
    for role in ("router", "decoy", "models"):
        assert tenancy.key(role).id in text
        assert tenancy.key(role).secret not in text
    assert json.loads(text.removeprefix("accounts: "))["a"]["jetstream"] == "enabled"


async def _patiently(call: Callable[[], Awaitable[Any]]) -> Any:
    """Returns what *call* does; JetStream's API is gone for a moment while accounts are exchanged."""
    async with asyncio.timeout(5.0):
        while True:
            try:
                return await call()
            except (nats.js.errors.ServiceUnavailableError, nats.js.errors.NoStreamResponseError):
                await asyncio.sleep(0.05)


async def _ignore(_error: Exception) -> None:
    """Errors are asserted where they are raised."""


async def _eventually(is_so: Callable[[], bool | Awaitable[bool]], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while True:
            found = is_so()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.05)


async def test_an_empty_register_lets_nobody_in(tmp_path: Path) -> None:
    """Without any tenant the accounts are closed, not left out: nats-server would let everybody in."""
    server = NatsServer(store=tmp_path / "nats", accounts=accounts_text(Register(), "x", 0.0))
    server.start()
    try:
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            await nats.connect(server.url, allow_reconnect=False, error_cb=_ignore)
    finally:
        server.stop()
        gc.collect()


def test_a_removed_tenants_name_stays_taken(tmp_path: Path) -> None:
    """What was stored of a removed tenant does not become a new one's by accident."""
    run = CliRunner().invoke
    folder = ["--tenants", str(tmp_path)]
    assert run(app, ["tenant", "add", "a", *folder]).exit_code == 0
    assert run(app, ["tenant", "remove", "a", "--yes", *folder]).exit_code == 0
    assert run(app, ["tenant", "add", "a", *folder]).exit_code == 1
    assert run(app, ["tenant", "add", "a", "--adopt", *folder]).exit_code == 0
