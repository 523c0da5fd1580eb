"""The development authority, the files of a server's TLS, and what may be listened on."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from rendezvous_router.cli import app
from rendezvous_router.main import app as router_app
from rendezvous_router.tls import ServerTls, TlsError, TlsFiles, check_exposure
from rendezvous_router.tls.development import make_certificates
from typer.testing import CliRunner


def actions(folder: Path, **arguments: object) -> dict[str, str]:
    """What became of each certificate."""
    return {made.name: made.action for made in make_certificates(folder, **arguments)}  # type: ignore[arg-type]


def test_made_once_then_kept_and_renewed_in_time(tmp_path: Path) -> None:
    """The authority stays; the rest is renewed with less than a third of its days left, earlier clients included."""
    folder = tmp_path / "certs"
    assert set(actions(folder, names=["alice"]).values()) == {"made"}
    authority = (folder / "ca.pem").read_bytes()
    assert set(actions(folder).values()) == {"kept"}
    later = datetime.now(UTC) + timedelta(days=61)
    again = actions(folder, now=later)
    assert again == {"ca": "kept", "router": "renewed", "nats": "renewed", "client": "renewed", "alice": "renewed"}
    assert (folder / "ca.pem").read_bytes() == authority
    for key in folder.glob("*-key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_hosts_are_kept_until_others_are_named(tmp_path: Path) -> None:
    """Names and addresses stand in the servers' certificates, and stay without being named again."""
    make_certificates(tmp_path, hosts=["router.example.org", "10.0.0.7"])
    assert actions(tmp_path)["router"] == "kept"
    shown = x509.load_pem_x509_certificate((tmp_path / "router.pem").read_bytes())
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["router.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    assert actions(tmp_path, hosts=["other.example.org"])["router"] == "renewed"


@pytest.mark.parametrize("kind", ["foreign", "no key", "no certificate", "another's key", "nonsense"])
def test_an_authority_of_others_is_left_alone(tmp_path: Path, kind: str) -> None:
    """Nothing is written where the authority is not one that was made here."""
    make_certificates(tmp_path / "other")
    folder = tmp_path / "certs"
    make_certificates(folder)
    ca, key = folder / "ca.pem", folder / "ca-key.pem"
    if kind == "foreign":
        ca.write_bytes((folder / "router.pem").read_bytes())
        key.write_bytes((folder / "router-key.pem").read_bytes())
    elif kind == "another's key":
        key.write_bytes((tmp_path / "other" / "ca-key.pem").read_bytes())
    elif kind == "nonsense":
        ca.write_text("nonsense")
    else:
        (key if kind == "no key" else ca).unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TlsError, match="was not made by this command, so it is left alone"):
        make_certificates(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("cert", "key", "client_ca", "words"),
    [
        ("missing.pem", "router-key.pem", None, r"certificate .*missing\.pem \(--cert.*does not exist"),
        ("router.pem", "missing.pem", None, r"private key .*missing\.pem \(--cert-key.*does not exist"),
        ("router.pem", "nats-key.pem", None, r"nats-key\.pem does not belong to certificate .*router\.pem"),
        ("router-key.pem", "router-key.pem", None, "holds no certificate in PEM"),
        ("router.pem", "router.pem", None, "holds no private key in PEM"),
        ("router.pem", "router-key.pem", "missing.pem", "--client-ca.*does not exist"),
        ("router.pem", "router-key.pem", "router-key.pem", "holds no certificates in PEM"),
    ],
)
def test_files_that_do_not_do(tmp_path: Path, cert: str, key: str, client_ca: str | None, words: str) -> None:
    """The message names the file, the option, and what is wrong with it."""
    make_certificates(tmp_path)
    files = TlsFiles(cert=tmp_path / cert, key=tmp_path / key, client_ca=tmp_path / client_ca if client_ca else None)
    with pytest.raises(TlsError, match=words):
        ServerTls(files)


@pytest.mark.parametrize(
    ("host", "has_keys", "has_tls", "insecure", "lacks"),
    [
        ("127.0.0.1", False, False, False, ""),
        ("127.8.8.8", False, False, False, ""),
        ("::1", False, False, False, ""),
        ("localhost", False, False, False, ""),
        ("0.0.0.0", True, True, False, ""),
        ("0.0.0.0", False, False, True, ""),
        ("0.0.0.0", False, False, False, "keys and TLS"),
        ("::", True, False, False, "TLS"),
        ("10.0.0.7", False, True, False, "keys"),
        ("router.example.org", False, False, False, "keys and TLS"),
    ],
)
def test_what_may_be_listened_on(host: str, has_keys: bool, has_tls: bool, insecure: bool, lacks: str) -> None:
    """Loopback always; anything else with keys and TLS, or when somebody says so."""
    if lacks:
        with pytest.raises(TlsError, match=f"listening on {host} without {lacks} is refused"):
            check_exposure(host, has_keys=has_keys, has_tls=has_tls, insecure=insecure)
    else:
        check_exposure(host, has_keys=has_keys, has_tls=has_tls, insecure=insecure)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "listening on 0.0.0.0 without"),
        (["--cert", "a.pem"], "--cert is given without --cert-key"),
        (["--client-ca", "a.pem"], "--client-ca is given without --cert"),
        (["--cert", "a.pem", "--cert-key", "b.pem"], "certificate a.pem"),
    ],
)
def test_a_router_that_is_not_to_be_started(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It ends before it serves, and says why."""
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(router_app, [*arguments, "--nats", "nats://127.0.0.1:1"])
    assert ended.exit_code == 1
    assert words in ended.output


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`rendezvous certs` tells what it did; a mistake is one message and status 1."""
    monkeypatch.chdir(tmp_path)
    first = CliRunner().invoke(app, ["certs", "--name", "alice", "--days", "5"])
    assert first.exit_code == 0
    assert (tmp_path / ".rendezvous" / "certs" / "alice.pem").exists()
    assert "made" in first.output
    assert "kept" in CliRunner().invoke(app, ["certs", "--json"]).output
    for wrong in (["--name", "ca"], ["--host", "no host"], ["--name", "../x"]):
        assert CliRunner().invoke(app, ["certs", *wrong]).exit_code == 1
