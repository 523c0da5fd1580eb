"""The README's examples run."""

import re
from pathlib import Path
from typing import Any

import pytest
from rendezvous_sdk import ServeOptions, testing

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_models_and_the_test_of_the_readme_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function, the class and the test example do what the text says."""
    served: list[dict[str, Any]] = []
    monkeypatch.setattr("rendezvous_sdk.serve", lambda model, **options: served.append(options))
    namespace: dict[str, Any] = {}
    for block in BLOCKS[:3]:
        exec(block, namespace)
    assert served == [{"endpoint": "credit", "name": "rule"}]
    with testing.Postbox(namespace["Boosted"]) as box:
        assert box.score({"duration_months": [12, 48]})["label"].tolist() == ["good", "bad"]


def test_the_client_example_runs(start_model: Any) -> None:
    """The two lines of a call work against a served model."""
    address = start_model("rule", "--name", "rule", "--no-postbox").wait_ready()[5]
    namespace: dict[str, Any] = {}
    exec(BLOCKS[3].replace("127.0.0.1:8001", address).replace('"credit"', '"e"'), namespace)
    assert namespace["answer"]["default_probability"].tolist() == [0.2, 0.7]


def test_the_table_of_options_has_the_defaults() -> None:
    """Defaults in the README are those of the code."""
    options = ServeOptions(endpoint="e", name="m")
    for text in (
        f"`credit` | {options.credit} |",
        f"`max_joined_rows` | {options.max_joined_rows} |",
        f"`max_rows` | {options.max_rows} |",
        f"`scoring_limit_s` | {options.scoring_limit_s:g} |",
        f"`ack_wait_s` | `{options.ack_wait_s:g}s` |",
        f"| `{options.nats}` |",
        f"`replicas` | {options.replicas} |",
    ):
        assert text in README
