"""What the documentation shows is run."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from rendezvous.mailbox import Arrival, Picked, Score, Table
from rendezvous.policy import compile_policy
from rendezvous.replay import replay
from rendezvous.spec import parse_spec

FOLDER = Path(__file__).resolve().parents[1]
REFERENCE = (FOLDER.parent / "docs" / "policy.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_endpoint_file_and_steps_of_the_reference_are_valid() -> None:
    """The endpoint of docs/policy.md parses, and so do every step and part shown there."""
    first, *others = blocks(REFERENCE, "yaml")
    document = yaml.safe_load(first)
    spec = parse_spec(document)
    assert [step.take for step in spec.policy.steps] == ["best", "majority", "first"]
    document["models"]["boosted_next"] = {"role": "challenger"}
    for block in others:
        part = yaml.safe_load(block)
        if isinstance(part, list):
            document["policy"]["steps"] = part
        else:
            document.update(part)
        parse_spec(document)


def test_plugin_of_the_reference_decides() -> None:
    """The plug-in of docs/policy.md is loaded and decides."""
    (source,) = blocks(REFERENCE, "python")
    names: dict[str, Any] = {}
    exec(source, names)  # our own documentation
    rules = {"cautious": names["Cautious"]}
    document = yaml.safe_load(blocks(REFERENCE, "yaml")[0])
    document["policy"]["steps"] = [{"take": "cautious", "options": {"column": "default_probability"}}]
    policy = compile_policy(parse_spec(document, rules=rules), rules=rules)
    arrivals = [
        Arrival(Score(model, "1", Table({"default_probability": [p], "label": ["x"]})), 0.001)
        for model, p in [("logit", 0.2), ("boosted", 0.1), ("tree", 0.9)]
    ]
    assert replay(policy, arrivals, request_id="r", rows=1).answer == Picked("tree")


def test_example_of_the_readme_runs() -> None:
    """The README's example holds what it asserts."""
    (source,) = blocks((FOLDER / "README.md").read_text(encoding="utf-8"), "python")
    exec(source, {})  # our own documentation


def test_generated_files_are_up_to_date() -> None:
    """JSON Schema and tables of fields are what `generate.py` would write."""
    command = [sys.executable, str(FOLDER / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
