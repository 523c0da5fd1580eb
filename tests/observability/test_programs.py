"""Where the observers' programs are looked for, and what happens where there are none."""

from pathlib import Path

import pytest

from tests.observability import conftest
from toolchains import observability
from toolchains.observability import OBSERVERS, PROMETHEUS, find_program


def make_program(folder: Path, name: str) -> Path:
    """Writes something that can be executed."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nothing is prepared, and whose PATH is one folder."""
    monkeypatch.setattr(observability, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(observability, "is_built", lambda language: False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def test_what_was_prepared_goes_before_the_path(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the PATH serves where none was prepared; what is half prepared does not count."""
    assert find_program(PROMETHEUS, "promtool") is None
    found = make_program(elsewhere / "bin", "promtool")
    assert find_program(PROMETHEUS, "promtool") == found
    prepared = make_program(elsewhere / "tools" / PROMETHEUS, "promtool")
    assert find_program(PROMETHEUS, "promtool") == found
    monkeypatch.setattr(observability, "is_built", lambda language: language is OBSERVERS[PROMETHEUS])
    assert find_program(PROMETHEUS, "promtool") == prepared


@pytest.mark.parametrize(("ci", "outcome"), [(None, pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_a_program_tests_are_skipped_and_fail_in_ci(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, ci: str | None, outcome: type[Exception]
) -> None:
    """The reason says what to run."""
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="promtool is not here: `python -m toolchains prepare prometheus`"):
        conftest.require_program(PROMETHEUS, "promtool")
