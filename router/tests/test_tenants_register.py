"""The register's folder: its secret, and what happens when a part of it is lost."""

import os
import stat
import threading
from pathlib import Path

import pytest
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_router.limits import TenantLimits
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.tenants.register import RegisterFile
from rendezvous_router.tenants.tenancy import Tenancy

GOOD = "0123456789abcdef" * 4


def _with_secret(folder: Path, text: str, rights: int = 0o600) -> RegisterFile:
    path = folder / "installation.secret"
    path.write_text(text)
    path.chmod(rights)
    return RegisterFile(folder)


@pytest.mark.parametrize("text", ["", "\n", "a", GOOD[:-1], GOOD + "0", GOOD.upper(), "z" * 64])
def test_what_is_no_secret_is_refused(tmp_path: Path, text: str) -> None:
    """A secret that was cut short or is something else makes no keys: whoever guesses it would have them all."""
    with pytest.raises(InvalidRequestError, match="64 hexadecimal characters"):
        _with_secret(tmp_path, text).secret()


@pytest.mark.parametrize("rights", [0o640, 0o604, 0o644, 0o620])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, rights: int) -> None:
    """The error says what to do; with the right rights the same file is taken."""
    file = _with_secret(tmp_path, f"{GOOD}\n", rights)
    with pytest.raises(InvalidRequestError, match="chmod 600"):
        file.secret()
    (tmp_path / "installation.secret").chmod(0o600)
    assert file.secret() == GOOD


def test_a_secret_is_made_once_and_whole(tmp_path: Path) -> None:
    """Several that start at the same time have the same secret, and leave nothing else behind."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(RegisterFile(tmp_path).secret())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found)), os.listdir(tmp_path)) == (8, 1, ["installation.secret"])
    assert stat.S_IMODE((tmp_path / "installation.secret").stat().st_mode) == 0o600


def test_a_lost_register_is_not_an_installation_without_tenants(tmp_path: Path) -> None:
    """With the secret and no register, nothing starts without keys; with neither, there are no tenants."""
    assert Tenancy.of(tmp_path, "a") is None
    file = RegisterFile(tmp_path)
    with file.change() as change:
        change.register = change.register.with_tenant(file.new_tenant("a", TenantLimits()))
    file.path.unlink()
    with pytest.raises(InvalidRequestError, match=r"register\.json is missing"):
        Tenancy.of(tmp_path, "a")


def test_a_name_that_is_refused_leaves_no_secret(tmp_path: Path) -> None:
    """A first tenant that cannot be added leaves an installation without tenants."""
    with pytest.raises(InvalidRequestError):
        RegisterFile(tmp_path).new_tenant("Not Allowed", TenantLimits())
    assert Tenancy.of(tmp_path, "a") is None


def test_accounts_are_nobody_elses_to_read(tmp_path: Path) -> None:
    """What lies where the accounts are written, a link or a file with wide rights, is replaced and not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    store = tmp_path / "nats"
    store.mkdir()
    server = NatsServer(store=store, port=1)
    leftovers = (lambda path: path.symlink_to(elsewhere), lambda path: path.touch(mode=0o666))
    for leave in leftovers:
        leave(store / "accounts.writing")
        server.set_accounts("accounts: {}\n")
        assert stat.S_IMODE((store / "accounts.conf").lstat().st_mode) == 0o600
        assert not (store / "accounts.conf").is_symlink()
    assert elsewhere.read_text() == "kept"
