"""The alerts: valid, unit-tested in both directions, explained in the guide."""

import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.expressions import rules
from tests.observability.servers import CONFIGURATION
from toolchains.languages import ROOT

ALERTS = [rule["alert"] for rule in rules() if "alert" in rule]


def run(promtool: Path, *arguments: str, cwd: Path = CONFIGURATION) -> subprocess.CompletedProcess[str]:
    """Runs promtool."""
    return subprocess.run([promtool, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yaml"), ("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")],
    ids=" ".join,
)
def test_promtool_has_no_complaint(promtool: Path, arguments: tuple[str, ...]) -> None:
    """Configuration and rules are valid, and the rules' unit tests pass."""
    done = run(promtool, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def read_checks() -> Iterator[tuple[timedelta, set[str]]]:
    """Yields every moment at which the unit tests look, and which alerts must fire then."""
    for case in yaml.safe_load((CONFIGURATION / "alerts.test.yaml").read_text())["tests"]:
        for check in case.get("promql_expr_test", ()):
            firing = {re.findall(r'alertname="(\w+)"', sample["labels"])[0] for sample in check["exp_samples"]}
            yield parse_time(check["eval_time"]), firing


def parse_time(text: str) -> timedelta:
    """Returns a duration as Prometheus writes it."""
    units = {"s": "seconds", "m": "minutes", "h": "hours"}
    return sum((timedelta(**{units[unit]: int(n)}) for n, unit in re.findall(r"(\d+)([smh])", text)), timedelta())


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tested_in_both_directions(alert: str) -> None:
    """There is a case in which it must fire, and one in which it must not though there was time enough to."""
    waits = parse_time(next(rule.get("for", "0s") for rule in rules() if rule.get("alert") == alert))
    assert any(alert in firing for _, firing in read_checks()), f"no case in which {alert} fires"
    assert any(alert not in firing and at > waits for at, firing in read_checks()), f"no case in which {alert} does not"


@pytest.mark.parametrize("expr", ["vector(0) > 1", "vector(1)"], ids=["never", "always"])
def test_an_alert_that_never_or_always_fires_is_noticed(promtool: Path, tmp_path: Path, expr: str) -> None:
    """The unit tests fail when a rule is broken."""
    document: dict[str, Any] = yaml.safe_load((CONFIGURATION / "alerts.yaml").read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == "RendezvousModelSilent":
                rule["expr"] = expr
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "alerts.test.yaml").write_text((CONFIGURATION / "alerts.test.yaml").read_text())
    done = run(promtool, "test", "rules", "alerts.test.yaml", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr


def test_every_alert_is_explained_where_its_runbook_says() -> None:
    """Each alert has a heading in the guide, and its annotation leads there; the guide explains no other."""
    guide = (ROOT / "docs" / "guides" / "observability.md").read_text()
    headings = re.findall(r"^#+ (Rendezvous\w+)$", guide, re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)
    for rule in rules():
        if "alert" in rule:
            annotations: Any = rule["annotations"]
            assert annotations["runbook"] == f"docs/guides/observability.md#{rule['alert'].lower()}"
