"""Dashboards and alerts name what the code has, and Prometheus understands them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rendezvous_proto.errors import ErrorCode
from rendezvous_router.telemetry.histogram import SHARES
from rendezvous_router.telemetry.metrics import METRICS, Kind, Metric

from tests.observability.expressions import every_expression, labels_of, metrics_of, panels, rules
from tests.observability.servers import CONFIGURATION
from toolchains.languages import ROOT

EXPRESSIONS = every_expression()
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
OTHERS = {
    "up": {"job", "instance"},
    "otelcol_exporter_sent_spans_total": {"job", "instance"},
    "otelcol_exporter_send_failed_spans_total": {"job", "instance"},
    "otelcol_receiver_refused_spans_total": {"job", "instance"},
    **{name: {"rendezvous_endpoint"} for name in RECORDED},
}
"""Metrics that are not the router's; test_collector.py sees that the collector has its own."""
SUFFIXES = {Kind.COUNTER: ("_total",), Kind.GAUGE: ("",), Kind.HISTOGRAM: ("_bucket", "_count", "_sum")}


def series_of(metric: Metric) -> dict[str, set[str]]:
    """Returns the names under which Prometheus has a metric, each with its labels."""
    labels = {label.replace(".", "_") for label in metric.labels} | {"job", "instance"}
    return {
        metric.prometheus_name + suffix: labels | ({"le"} if suffix == "_bucket" else set())
        for suffix in SUFFIXES[metric.kind]
    }


KNOWN = {name: labels for metric in METRICS for name, labels in series_of(metric).items()} | OTHERS


@pytest.mark.parametrize(("where", "expr"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_an_expression_names_only_what_there_is(where: str, expr: str) -> None:
    """Every metric is in the router's table (or known to be another's), and has the labels that are asked for."""
    named = metrics_of(expr)
    assert named, expr
    for each in named:
        assert each.metric in KNOWN, f"{where}: there is no metric {each.metric}"
        for label, _ in each.matchers:
            assert label in KNOWN[each.metric], f"{where}: {each.metric} has no label {label}"
    made = set(re.findall(r'label_replace\(.*?"(\w+)", "', expr, re.DOTALL))
    for label in labels_of(expr) - made:
        assert any(label in KNOWN[each.metric] for each in named), f"{where}: no metric there has a label {label}"


@pytest.mark.parametrize(("where", "expr"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_an_expression_compares_labels_with_values_that_occur(where: str, expr: str) -> None:
    """Codes, rules and buckets' ends are spelt as the code spells them."""
    known = {
        "error_type": {"", *(code.name for code in ErrorCode)},
        "rendezvous_rule": {"canary", "otherwise", "none"},
        "le": {f"{edge:.6g}" for edge in SHARES.bounds},
        "messaging_operation_name": {"publish"},
        "job": {job["job_name"] for job in read_jobs()},
    }
    for each in metrics_of(expr):
        for label, value in each.matchers:
            if label in known:
                assert set(value.split("|")) <= known[label], f"{where}: {label} is never {value}"


def read_jobs() -> list[dict[str, str]]:
    """Returns what Prometheus scrapes."""
    jobs: list[dict[str, str]] = yaml.safe_load((CONFIGURATION / "prometheus.yaml").read_text())["scrape_configs"]
    return jobs


def test_prometheus_understands_every_panel(promtool: Path, tmp_path: Path) -> None:
    """Every expression of a dashboard, its variables replaced, is valid PromQL."""
    checked = [{"record": f"panel:{number}", "expr": expr} for number, (_, expr) in enumerate(EXPRESSIONS)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": checked}]}))
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_are_those_that_the_code_writes() -> None:
    """No dashboard is edited by hand, none is left over."""
    command = [sys.executable, "-m", "compose.observability", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_dashboard_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that differs or that nobody writes any more makes --check fail."""
    from compose.observability import __main__ as writer  # noqa: PLC0415 - a command

    monkeypatch.setattr(writer, "FOLDER", tmp_path)
    assert writer.main(check=True) == 1
    assert writer.main(check=False) == 0
    assert writer.main(check=True) == 0
    (tmp_path / "left-over.json").write_text("{}")
    assert writer.main(check=True) == 1


def test_a_click_on_a_series_leads_to_traces_by_labels_that_it_has() -> None:
    """The links to Jaeger fill in labels of the series; a series without the label would lead nowhere."""
    linked = 0
    for where, panel, exprs in panels():
        links = panel["fieldConfig"]["defaults"].get("links", [])
        for label in {label for link in links for label in re.findall(r"labels\.(\w+)", link["url"])}:
            assert all(label in labels_of(expr) or label in expr.split("{")[1] for expr in exprs), f"{where}: {label}"
            linked += 1
    assert linked > 20
