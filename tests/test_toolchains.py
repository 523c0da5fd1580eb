"""Languages beside Python: what is missing is said, what is built is kept."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from toolchains import __main__ as command_line
from toolchains import building
from toolchains.languages import LANGUAGES, Language, Tool
from toolchains.tools import find_gaps

TOY = Language(
    name="toy",
    title="Toy",
    tools=[Tool(command=["sh", "-c", "echo 1.2.3"], least=(1, 2))],
    packages=["toy-tools"],
    sources=["src"],
    outputs=[".tools/toy"],
    build=["sh", "-c", "mkdir -p .tools/toy && cp src/input .tools/toy/output && echo built >> builds"],
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with one source file, a cache of its own, and nobody who could install."""
    root = tmp_path / "tree"
    (root / "src").mkdir(parents=True)
    (root / "src" / "input").write_text("one")
    monkeypatch.setattr(building, "ROOT", root)
    monkeypatch.setattr(building, "STAMPS", root / ".tools" / "built")
    monkeypatch.setattr(command_line, "STAMPS", root / ".tools" / "built")
    monkeypatch.setattr(command_line, "ROOT", root)
    monkeypatch.setattr(command_line, "can_install", lambda: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CI", raising=False)
    return root


def builds(root: Path) -> int:
    """Returns how many builds were really made."""
    return len((root / "builds").read_text().splitlines())


def test_a_build_is_made_once_for_each_content_of_its_sources(tree: Path) -> None:
    """Nothing is built twice: not in the same tree, not in a clean one, not when a change is taken back."""
    assert building.build(TOY).startswith("built")
    assert building.build(TOY) == "up to date"
    shutil.rmtree(tree / ".tools")
    assert building.build(TOY) == "from the cache"
    (tree / "src" / "input").write_text("two")
    assert building.build(TOY).startswith("built")
    assert (tree / ".tools" / "toy" / "output").read_text() == "two"
    (tree / "src" / "input").write_text("one")
    assert building.build(TOY) == "from the cache"
    assert (tree / ".tools" / "toy" / "output").read_text() == "one"
    assert builds(tree) == 2


def test_a_build_that_fails_says_what_it_printed(tree: Path) -> None:
    """The end of the output is in the message, and nothing counts as built."""
    broken = replace(TOY, build=["sh", "-c", "echo no such compiler; exit 3"])
    with pytest.raises(building.BuildError, match=r"(?s)status 3.*no such compiler"):
        building.build(broken)
    assert not building.is_built(broken)


def test_a_build_without_its_outputs_has_failed(tree: Path) -> None:
    """Status 0 is not enough."""
    with pytest.raises(building.BuildError, match="status 0"):
        building.build(replace(TOY, build=["true"]))


@pytest.mark.parametrize(
    ("tools", "gap"),
    [
        ([Tool(command=["no-such-command-here"])], "no-such-command-here not found"),
        ([Tool(command=["sh", "-c", "echo 1.2.3"], least=(1, 3))], "sh 1.2.3 is too old: 1.3 or newer is needed"),
        (
            [Tool(command=["sh", "-c", "echo none"], least=(1,))],
            "sh of unknown version is too old: 1 or newer is needed",
        ),
        ([Tool(command=["sh", "-c", "echo v22.1"], least=(18,))], None),
        ([Tool(command=["printf", "\\033[1mApache 3.8.7\\033[m"], least=(3, 6))], None),
    ],
)
def test_what_is_missing_is_named(tools: Sequence[Tool], gap: str | None) -> None:
    """A tool that is not there or too old is a gap, with both versions."""
    assert find_gaps(replace(TOY, tools=tools)) == ([gap] if gap else [])


@pytest.mark.parametrize(("ci", "status"), [(None, 0), ("true", 1)])
def test_a_language_that_is_left_out_is_said_and_fails_in_ci(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: str | None, status: int
) -> None:
    """Without its tools a language is left out visibly; continuous integration does not accept that."""
    if ci:
        monkeypatch.setenv("CI", ci)
    monkeypatch.setitem(LANGUAGES, "toy", replace(TOY, tools=[Tool(command=["no-such-command-here"])], test=["true"]))
    assert command_line.main(["prepare", "toy"]) == status
    said = capsys.readouterr().err
    assert "Toy: LEFT OUT: no-such-command-here not found" in said
    assert "apt-get install toy-tools" in said
    assert command_line.main(["test", "toy"]) == status
    assert "tests SKIPPED" in capsys.readouterr().err


def test_a_test_that_fails_is_a_failure(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status of a language's own tests is the command's."""
    monkeypatch.setitem(LANGUAGES, "toy", replace(TOY, test=["sh", "-c", "exit 7"]))
    assert command_line.main(["prepare", "toy"]) == 0
    assert command_line.main(["test", "toy"]) == 1
