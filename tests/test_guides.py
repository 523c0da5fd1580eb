"""The guides hold: every command in them is run, in an empty folder, and prints what they show."""

from pathlib import Path

import pytest

from tests.support.guide import ROOT, Command, File, Reader, check_output, read_steps
from tests.support.languages import require_language

GUIDES = ROOT / "docs" / "guides"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("language", ["python", "java", "r"])
def test_the_guide_leads_to_a_served_model(language: str, tmp_path: Path) -> None:
    """From an empty folder to an answer, by the guide's own commands."""
    require_language(language)
    with Reader(tmp_path) as reader:
        assert reader.follow(GUIDES / f"{language}.md") >= 3


def test_files_and_commands_are_found_in_a_guide() -> None:
    """Titled blocks are files, console blocks are commands with their output, untested ones are left out."""
    steps = list(
        read_steps(
            '```python title="a.py"\nprint(1)\n```\ntext\n```console\n$ python a.py\n1\n$ sleep \\\n  0\n```\n'
            "```console no-test\n$ rm -rf /\n```\n```yaml\nx: 1\n```\n"
        )
    )
    assert steps == [File("a.py", "print(1)\n"), Command("python a.py", ["1"]), Command("sleep \\\n  0", [])]


@pytest.mark.parametrize(
    ("shown", "said", "fits"),
    [
        (["good 0.2"], "good 0.2\n", True),
        (["good ..."], "x\ngood 0.123  \n", True),
        (["good", "...", "bad"], "good\n1\n2\nbad\n", True),
        (["good 0.2"], "bad 0.2\n", False),
        (["a", "b"], "b\na\n", False),
    ],
)
def test_output_is_compared_with_what_the_guide_shows(shown: list[str], said: str, fits: bool) -> None:
    """Three dots stand for anything; everything else must be there, in order."""
    command = Command("true", shown)
    if fits:
        check_output(command, said)
    else:
        with pytest.raises(AssertionError, match="but the guide shows"):
            check_output(command, said)
