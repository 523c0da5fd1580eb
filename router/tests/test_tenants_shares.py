"""Shares that nats-server would not take never reach the register, and accounts that it would not take never it."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_router.cli import app
from rendezvous_router.limits import TenantLimits
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.tenants.keys import make_key, new_record
from rendezvous_router.tenants.register import Register, RegisterFile, Share
from rendezvous_router.tenants.tenancy import Tenancy
from typer.testing import CliRunner

TENANTS = ("a", "b", "c")


@pytest.fixture
def file(tmp_path: Path) -> RegisterFile:
    """A register with the tenants a, b and c."""
    made = RegisterFile(tmp_path / "tenants")
    with made.change() as change:
        for name in TENANTS:
            change.register = change.register.with_tenant(made.new_tenant(name, TenantLimits()))
    return made


@pytest.fixture
def server(tmp_path: Path, file: RegisterFile) -> Iterator[NatsServer]:
    """A nats-server that has these tenants."""
    made = NatsServer(store=tmp_path / "nats", accounts=Tenancy(file.folder, "a").accounts)
    made.start()
    yield made
    made.stop()


def _share(file: RegisterFile, words: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, ["tenant", "share", *words.split(), "--tenants", str(file.folder)])
    return ended.exit_code, " ".join(ended.output.split())


def _write(file: RegisterFile, register: Register) -> None:
    with file.change() as change:
        change.register = register


def _with_shares(register: Register, *shares: str) -> Register:
    made = []
    for words in shares:
        source, receiver, alias = words.split()
        owner, endpoint = source.split("/")
        made.append(Share(owner=owner, endpoint=endpoint, receiver=receiver, alias=alias))
    return msgspec.structs.replace(register, shares=tuple(made))


@pytest.mark.parametrize(
    ("shares", "complaint"),
    [
        (["a/x b --as y", "b/y a --as x"], "(a -> b -> a)"),
        (["a/x b --as y", "b/y a --as w"], "(a -> b -> a)"),
        (["a/x b --as y", "b/y c --as z", "c/z a --as x"], "(a -> b -> c -> a)"),
        (["b/y c --as z", "c/z a --as x", "a/x b --as y"], "(b -> c -> a -> b)"),
        (["a/x b --as y", "a/x b --as z"], "receives a/x already, as y"),
    ],
)
def test_shares_that_come_back_or_double_are_refused(file: RegisterFile, shares: list[str], complaint: str) -> None:
    """The last share of each is refused with the way that requests would take, and the register stays as it was."""
    for words in shares[:-1]:
        assert _share(file, words)[0] == 0
    status, said = _share(file, shares[-1])
    assert (status, len(file.read().shares)) == (1, len(shares) - 1)
    assert complaint in said


@pytest.mark.parametrize(
    "shares",
    [
        ["a/x b --as y", "a/x c --as y"],
        ["a/x b --as y", "b/z a --as w"],
        ["a/x b --as y", "b/y c --as z"],
        ["a/x b", "b/x a"],
        ["a/x c --as z", "b/x c --as w", "c/z b --as y"],
    ],
)
def test_shares_without_a_way_back_are_made(file: RegisterFile, server: NatsServer, shares: list[str]) -> None:
    """Several receivers, both ways between two tenants, and passing on are allowed, and nats-server takes them."""
    for words in shares:
        status, said = _share(file, words)
        assert status == 0, said
    server.check_accounts(Tenancy(file.folder, "a").accounts)


@pytest.mark.parametrize("relaxed", [True, False])
def test_nats_has_nothing_against_the_configuration(tmp_path: Path, file: RegisterFile, relaxed: bool) -> None:
    """The configuration of either durability is read without a warning."""
    (tmp_path / "store").mkdir()
    accounts = Tenancy(file.folder, "a").accounts
    NatsServer(store=tmp_path / "store", port=1, relaxed=relaxed, accounts=accounts).check_accounts(accounts)


def test_accounts_that_nats_refuses_do_not_replace_those_in_force(file: RegisterFile, server: NatsServer) -> None:
    """A register with a fault that only nats-server sees leaves its accounts as they are; mended, it is followed."""
    tenancy = Tenancy(file.folder, "a")
    conf = server.store / "accounts.conf"
    before = conf.read_text()
    good = file.read()
    _write(file, _with_shares(good, "a/x b y", "b/y a x"))
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match=r"nats-server refuses the accounts .*cycle"):
            tenancy.follow(server, server.pid)
    assert (conf.read_text(), server.accounts) == (before, before)
    assert sorted(path.name for path in server.store.iterdir() if path.name.startswith("accounts")) == ["accounts.conf"]
    _write(file, _with_shares(good, "a/x b y"))
    tenancy.follow(server, server.pid)
    assert "rv.y.input" in conf.read_text()


async def test_accounts_that_nats_did_not_take_up_are_told_once(file: RegisterFile, server: NatsServer) -> None:
    """Where the server's reload fails, following says so with the server's words, once, and goes on."""
    tenancy = Tenancy(file.folder, "a")
    config = server.store / "nats-server.conf"
    text = config.read_text()
    config.write_text(f"{text}\nno_such_thing {{\n")
    _write(file, file.read().with_tenant(file.new_tenant("d", TenantLimits())))
    tenancy.follow(server, server.pid)
    with pytest.raises(InvalidRequestError, match=r"did not take up the accounts .*Failed to reload"):
        await _follow_for(tenancy, server, 5.0)
    config.write_text(text)
    await _follow_for(tenancy, server, 0.5)
    _write(file, file.read().with_tenant(file.new_tenant("e", TenantLimits())))
    await _follow_for(tenancy, server, 1.0)


def test_a_register_that_is_gone_leaves_the_last_in_force(file: RegisterFile, server: NatsServer) -> None:
    """Following says that the register is gone; tenants and accounts stay."""
    tenancy = Tenancy(file.folder, "a")
    before = server.accounts
    file.path.unlink()
    with pytest.raises(InvalidRequestError, match="is gone: restore it from a backup"):
        tenancy.follow(server, server.pid)
    assert (tenancy.names, server.accounts) == (list(TENANTS), before)


def test_the_next_expiry_is_printed_with_the_accounts(file: RegisterFile) -> None:
    """Whoever runs NATS reads when the accounts have to be printed again; without keys that expire, nothing."""
    arguments = ["tenant", "nats-config", "--tenants", str(file.folder)]
    assert CliRunner().invoke(app, arguments).output.startswith("accounts: ")
    register, soon = file.read(), int(time.time()) + 1000
    keys = {expires_s: make_key() for expires_s in (soon + 5, soon, soon - 5, 1)}
    for expires_s, key in keys.items():
        scope = "score" if expires_s == soon - 5 else "control"
        register = register.with_key("b", new_record(key, [scope], expires_unix_s=expires_s))
    _write(file, register)
    first, second, *_ = CliRunner().invoke(app, arguments).output.splitlines()
    assert first.startswith("# print and reload these again at ")
    assert first.endswith(f": key {keys[soon].id} of tenant b expires then")
    assert second.startswith("accounts: ")


def test_no_accounts_are_printed_where_there_are_no_tenants(tmp_path: Path) -> None:
    """Asking for them makes neither a register nor a secret."""
    ended = CliRunner().invoke(app, ["tenant", "nats-config", "--tenants", str(tmp_path / "tenants")])
    assert ended.exit_code == 1
    assert not (tmp_path / "tenants").exists()


async def _follow_for(tenancy: Tenancy, server: NatsServer, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        tenancy.follow(server, server.pid)
        await asyncio.sleep(0.05)
