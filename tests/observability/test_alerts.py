"""The alerts: valid, unit-tested in both directions, explained in the guide."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.expressions import metrics_of, rules
from tests.observability.servers import CONFIGURATION
from toolchains.languages import ROOT

UNIT_TESTS: dict[str, Any] = yaml.safe_load((CONFIGURATION / "alerts.test.yaml").read_text())
RULES = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}
ALERTS = list(RULES)
COMPARISON = re.compile(r"(?<=\s)(?:[<>]=?|==|!=)(?=\s)")


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


def parse_time(text: str) -> timedelta:
    """Returns a duration as Prometheus writes it."""
    units = {"s": "seconds", "m": "minutes", "h": "hours"}
    return sum((timedelta(**{units[unit]: int(n)}) for n, unit in re.findall(r"(\d+)([smh])", text)), timedelta())


def recorded_for(alert: str) -> list[dict[str, str]]:
    """Returns the recording rules that an alert needs."""
    return [RECORDED[each.metric] for each in metrics_of(RULES[alert]["expr"]) if each.metric in RECORDED]


def needed_by(alert: str) -> set[str]:
    """Returns the metrics that an alert needs of what is scraped."""
    expressions = [RULES[alert]["expr"], *(rule["expr"] for rule in recorded_for(alert))]
    return {each.metric for expr in expressions for each in metrics_of(expr)} - RECORDED.keys()


def cases_about(alert: str) -> list[dict[str, Any]]:
    """Returns the cases of the unit tests that have a series of every metric which an alert needs."""
    return [case for case in UNIT_TESTS["tests"] if needed_by(alert) <= metrics_in(case)]


def metrics_in(case: Mapping[str, Any]) -> set[str]:
    """Returns the metrics of which a case has series."""
    return {series["series"].partition("{")[0] for series in case["input_series"] or ()}


def read_checks(cases: list[dict[str, Any]]) -> Iterator[tuple[timedelta, set[str]]]:
    """Yields every moment at which the cases look, and which alerts must fire then."""
    for check in (check for case in cases for check in case.get("promql_expr_test", ())):
        yield parse_time(check["eval_time"]), {name_in(sample) for sample in check["exp_samples"]}


def fires_in(alert: str, case: dict[str, Any]) -> bool:
    """Tells whether an alert must fire in a case."""
    return any(alert in firing for _, firing in read_checks([case]))


def name_in(sample: Mapping[str, str]) -> str:
    """Returns the alert that an expected sample names."""
    return re.findall(r'alertname="(\w+)"', sample["labels"])[0]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tested_in_both_directions(alert: str) -> None:
    """There is a case in which it must fire, and one in which it must not: with all its metrics, and after its time."""
    waits = parse_time(RULES[alert].get("for", "0s"))
    assert any(alert in firing for _, firing in read_checks(UNIT_TESTS["tests"])), f"no case in which {alert} fires"
    about = read_checks(cases_about(alert))
    assert any(alert not in firing and at > waits for at, firing in about), f"no case in which {alert} does not"


def changes() -> Iterator[Any]:
    """Yields each alert with one of its comparisons always true, one each; without its `for`; and never firing."""
    for alert, rule in RULES.items():
        for number, found in enumerate(COMPARISON.finditer(rule["expr"])):
            always = f"{rule['expr'][: found.end()]} bool{rule['expr'][found.end() :]}"
            yield pytest.param(alert, {"expr": always}, id=f"{alert}-comparison-{number}")
        if "for" in rule:
            yield pytest.param(alert, {"for": "0s"}, id=f"{alert}-at-once")
        yield pytest.param(alert, {"expr": "vector(0) > 1"}, id=f"{alert}-never")


@pytest.mark.parametrize(("alert", "change"), list(changes()))
def test_an_alert_that_fires_too_easily_or_never_is_noticed(
    promtool: Path, tmp_path: Path, alert: str, change: dict[str, str]
) -> None:
    """The unit tests of an alert fail when a comparison of it always holds, it does not wait, or it never fires."""
    done = run_alone(promtool, tmp_path, alert, change)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search("exp: ?.*got: ?", done.stderr, re.DOTALL), done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_unchanged_alert_passes_alone(promtool: Path, tmp_path: Path, alert: str) -> None:
    """What fails when an alert is changed fails for the change, not because the other alerts are left out."""
    done = run_alone(promtool, tmp_path, alert, {})
    assert done.returncode == 0, done.stdout + done.stderr


def run_alone(promtool: Path, folder: Path, alert: str, change: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs an alert's unit tests with nothing but this alert, changed, and the recording rules that it needs."""
    about = cases_about(alert)
    tests = [expecting_only(alert, case) for case in UNIT_TESTS["tests"] if case in about or fires_in(alert, case)]
    group = {"name": alert, "rules": [*recorded_for(alert), {**RULES[alert], **change}]}
    (folder / "alerts.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    (folder / "alerts.test.yaml").write_text(yaml.safe_dump({**UNIT_TESTS, "tests": tests}))
    return run(promtool, "test", "rules", "alerts.test.yaml", cwd=folder)


def expecting_only(alert: str, case: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a case that expects of the alerts only this one."""
    checks = [
        {**check, "exp_samples": [sample for sample in check["exp_samples"] if name_in(sample) == alert]}
        for check in case.get("promql_expr_test", ())
    ]
    only = {key: value for key, value in case.items() if key != "alert_rule_test"}
    return {**only, "promql_expr_test": checks}


def test_every_alert_is_explained_where_its_runbook_says() -> None:
    """Each alert has a heading in the guide, and its annotation leads there; the guide explains no other."""
    guide = (ROOT / "docs" / "guides" / "observability.md").read_text()
    headings = re.findall(r"^#+ (Rendezvous\w+)$", guide, re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)
    for rule in rules():
        if "alert" in rule:
            annotations: Any = rule["annotations"]
            assert annotations["runbook"] == f"docs/guides/observability.md#{rule['alert'].lower()}"
