"""Keys: what is kept of them, and whom they let in."""

import re
import time
from pathlib import Path

import pytest
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.keys import Key, parse_bearer, parse_key
from rendezvous_router.cli.key import app as key_commands
from rendezvous_router.tenants.keys import (
    KeyHolder,
    KeyRecord,
    KeyRing,
    derive_key,
    make_key,
    new_record,
    parse_scopes,
)
from typer.testing import CliRunner

NOW = time.time()


def _ring(*records: KeyRecord) -> KeyRing:
    return KeyRing({record.id: KeyHolder("a", record) for record in records})


def test_a_key_is_read_back_as_it_was_made() -> None:
    """A new key has the form that every client knows, and its parts come back."""
    key = make_key()
    assert re.fullmatch(r"rv_[a-z2-7]{12}_[a-z2-7]{52}", key.text)
    assert parse_key(key.text) == key
    assert parse_bearer(f"Bearer {key.text}") == key
    assert parse_bearer(f"bearer  {key.text} ") == key


@pytest.mark.parametrize(
    "text", ["", "Bearer", "Basic abc", "Bearer rv_x_y", f"Bearer {make_key().text}x", f"Token {make_key().text}"]
)
def test_what_is_no_key_is_none(text: str) -> None:
    """Headers without a key of ours carry none."""
    assert parse_bearer(text) is None


def test_a_key_shows_its_id_only() -> None:
    """Neither the representation of a key nor the error about a malformed one has the secret."""
    key = make_key()
    assert key.secret not in repr(key)
    with pytest.raises(InvalidRequestError) as caught:
        parse_key(f"{key.text}!")
    assert key.secret not in str(caught.value)
    assert key.secret not in repr(new_record(key, ["score"]))


def test_derived_keys_differ_by_tenant_role_and_installation() -> None:
    """The installation's own processes have a key each, the same each time."""
    keys = {derive_key(secret, tenant, role).text for secret in "xy" for tenant in "ab" for role in ("router", "decoy")}
    assert len(keys) == 8
    assert derive_key("x", "a", "router").text in keys


def test_only_the_right_secret_opens() -> None:
    """A ring finds the holder of a valid key, and nobody else's."""
    key, other = make_key(), make_key()
    record = new_record(key, ["score"])
    ring = _ring(record)
    holder = ring.find(key, NOW)
    assert holder is not None
    assert (holder.tenant, holder.record.id) == ("a", key.id)
    for wrong in (None, other, Key(key.id, other.secret), Key(other.id, key.secret), Key(key.id, "")):
        assert ring.find(wrong, NOW) is None


def test_revoked_and_expired_keys_open_nothing() -> None:
    """A key is refused from the moment it is revoked or expires."""
    key = make_key()
    expiring = new_record(key, ["score"], expires_unix_s=int(NOW) + 10)
    assert _ring(expiring).find(key, NOW) is not None
    assert _ring(expiring).find(key, NOW + 11) is None
    revoked = KeyRecord(
        id=key.id,
        scopes=("score",),
        salt=expiring.salt,
        digest=expiring.digest,
        created_unix_s=0,
        revoked_unix_s=int(NOW),
    )
    assert _ring(revoked).find(key, NOW) is None


@pytest.mark.parametrize(
    ("scopes", "versions", "complaint"),
    [
        ([], (), "needs a scope"),
        (["admin"], (), "'admin' is not known"),
        (["model:credit"], (), "'model:credit' is not known"),
        (["model:credit/"], (), "model '' is not allowed"),
        (["model:credit/a.*"], (), "model 'a.*' is not allowed"),
        (["model:>/a"], (), "endpoint '>' is not allowed"),
        (["score"], ("3",), "versions are of models"),
        (["model:credit/a"], ("*",), "version '*' is not allowed"),
    ],
)
def test_malformed_scopes_are_refused(scopes: list[str], versions: tuple[str, ...], complaint: str) -> None:
    """What is no scope is named in the error."""
    with pytest.raises(InvalidRequestError, match=re.escape(complaint)):
        new_record(make_key(), scopes, versions=versions)


def test_scopes_are_kept_once_and_in_order() -> None:
    """Scopes given twice count once."""
    assert parse_scopes([" score", "control", "score"]) == ("score", "control")


def test_what_looks_like_a_key_is_not_repeated(tmp_path: Path) -> None:
    """Whoever gives a key, or a part of one, where its id is wanted does not see it again in the error."""
    key = make_key()
    for given in (key.text, key.text[:40], key.secret, key.text.upper(), f"rv_{key.secret}"):
        for command in (["revoke", given], ["allow", given, "--version", "2"]):
            ended = CliRunner().invoke(key_commands, [*command, "--tenants", str(tmp_path)])
            assert ended.exit_code == 1
            shown = ended.output.replace("\n", "").lower()
            assert key.secret[:12] not in shown
            assert "key list" in shown
    assert key.id in CliRunner().invoke(key_commands, ["revoke", key.id, "--tenants", str(tmp_path)]).output
