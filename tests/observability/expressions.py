"""Every expression of the dashboards and the alerts, and what each names."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.observability.servers import CONFIGURATION

DASHBOARDS = sorted((CONFIGURATION / "grafana" / "dashboards").glob("*.json"))
_STRING = r'"(?:[^"\\]|\\.)*"'
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(rf"([a-zA-Z_:][\w:]*)\{{((?:{_STRING}|[^}}\"])*)\}}")
_MATCHER = re.compile(rf"(\w+)\s*(?:=~|!~|!=|=)\s*({_STRING})")
_WORD = re.compile(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()")
_KEYWORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


@dataclass(frozen=True, slots=True)
class Named:
    """A metric that an expression names."""

    metric: str
    """Its name."""
    matchers: tuple[tuple[str, str], ...]
    """Its labels that are compared, and with what."""


def panels() -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Yields every panel of every dashboard: dashboard and title, the panel, its expressions as they stand there."""
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield f"{board['title']} / {panel['title']}", panel, [target["expr"] for target in panel["targets"]]


def panel_links() -> Iterator[str]:
    """Yields the links of every dashboard, and those behind its panels' series, as they stand there."""
    for path in DASHBOARDS:
        yield from (link["url"] for link in json.loads(path.read_text())["links"] if link["type"] == "link")
    for _, panel, _ in panels():
        yield from (link["url"] for link in panel["fieldConfig"]["defaults"].get("links", []))


def fill_in_link(link: str, values: Mapping[str, object]) -> str:
    """Returns a link with Grafana's variables replaced.

    Raises:
        KeyError: it names another one.
    """
    return re.sub(r"\$\{([\w.]+)\}", lambda found: str(values[found[1]]), link)


def rules() -> list[dict[str, str]]:
    """Returns every rule."""
    groups = yaml.safe_load((CONFIGURATION / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def fill_in(expr: str, *, endpoint: str = ".*", model: str = ".*", interval: str = "1m") -> str:
    """Returns a panel's expression with Grafana's variables replaced."""
    filled = expr.replace("$__rate_interval", interval).replace("$endpoint", endpoint).replace("$model", model)
    assert "$" not in filled, f"a variable that no dashboard has: {filled}"
    return filled


def every_expression() -> list[tuple[str, str]]:
    """Returns where each expression stands, and the expression, ready for Prometheus."""
    found = [(where, fill_in(expr)) for where, _, exprs in panels() for expr in exprs]
    return found + [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def metrics_of(expr: str) -> list[Named]:
    """Returns the metrics that an expression names, each with its matchers."""
    named = [Named(name, tuple((k, v[1:-1]) for k, v in _MATCHER.findall(m))) for name, m in _SELECTOR.findall(expr)]
    bare = re.sub(r"\[[^]]*\]", " ", re.sub(_STRING, " ", _GROUPING.sub(" ", _SELECTOR.sub(" ", expr))))
    return named + [Named(word, ()) for word in _WORD.findall(bare) if word not in _KEYWORDS]


def labels_of(expr: str) -> set[str]:
    """Returns the labels by which an expression groups or matches series."""
    return {label.strip() for group in _GROUPING.findall(expr) for label in group.split(",") if label.strip()}
