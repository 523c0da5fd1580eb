"""What a process finds out about its model by itself."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rendezvous_proto import v1
from rendezvous_sdk.nats_connection import redact
from rendezvous_sdk.origin import complete_info, find_packages, find_source_control, strip_credentials


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://user:secret@host.example/a/b.git", "https://host.example/a/b.git"),
        ("https://token@host.example/a.git?x=secret", "https://host.example/a.git"),
        ("https://host.example/a.git", "https://host.example/a.git"),
        ("ssh://git@host.example:22/a.git", "ssh://host.example:22/a.git"),
        ("git@host.example:a/b.git", "host.example:a/b.git"),
        ("/srv/a.git", "/srv/a.git"),
        ("", ""),
    ],
)
def test_credentials_are_stripped(address: str, expected: str) -> None:
    """No user, password, token or query of a remote's address is kept."""
    assert strip_credentials(address) == expected


def test_addresses_of_nats_are_shown_without_credentials() -> None:
    """Several servers, each without user and password."""
    assert redact("nats://u:p@h:4222,nats://t@i:4222") == "nats://h:4222,nats://i:4222"


def test_repository_commit_and_state_are_found(tmp_path: Path) -> None:
    """A clean tree, then a changed one; outside of git there is nothing."""
    source = tmp_path / "code_of_a_model.py"
    source.write_text("def score(table):\n    '''Half of it.'''\n    return table\n")
    git = shutil.which("git")
    assert git is not None
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://user:secret@host.example/m.git"],
        ["add", "."],
        ["-c", "user.name=n", "-c", "user.email=n@example.org", "commit", "-q", "-m", "first"],
    ):
        subprocess.run([git, "-C", str(tmp_path), *command], check=True)
    spec = importlib.util.spec_from_file_location("code_of_a_model", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = find_source_control(module.score)
    assert found is not None
    assert (found.repository, len(found.commit), found.dirty) == ("https://host.example/m.git", 40, False)
    source.write_text("changed\n")
    assert getattr(find_source_control(module.score), "dirty", None) is True
    assert find_source_control(len) is None
    info = complete_info(v1.ModelInfo(task="t"), name="m", version="2", source=module.score)
    assert (info.name, info.version, info.task, info.description) == ("m", "2", "t", "Half of it.")


def test_imported_packages_are_listed() -> None:
    """What was imported is there with its version."""
    packages = {package.name: package.version for package in find_packages()}
    assert packages["numpy"] == np.__version__
    assert "pytest" in packages
