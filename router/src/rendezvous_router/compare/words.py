"""Numbers and names as people read them, the same in text and HTML."""

import datetime as dt
import math
from typing import Any

from rendezvous_router.compare.results import Comparison, Difference, ModelReport

__all__ = ["called", "found", "interval", "moment", "number", "percent", "verdict"]


def number(value: Any, digits: int = 4) -> str:
    """Returns a number with so many significant digits; `-` for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def percent(part: float | None, whole: int | None = None) -> str:
    """Returns a share, or a part of a whole, in percent; `-` for none."""
    if part is None or whole == 0 or (isinstance(part, float) and math.isnan(part)):
        return "-"
    share = part if whole is None else part / whole
    return f"{share:.2%}"


def interval(difference: Difference) -> str:
    """Returns the confidence sequence of a difference; `-` for none."""
    if difference.low is None or difference.high is None:
        return "-"
    return f"{difference.low:+.3g} to {difference.high:+.3g}"


def moment(unix_us: int | None) -> str:
    """Returns a moment, in UTC, to the minute."""
    if unix_us is None:
        return "-"
    return f"{dt.datetime.fromtimestamp(unix_us / 1e6, dt.UTC):%Y-%m-%d %H:%M}"


def called(model: ModelReport) -> str:
    """Returns a model's name with its versions and origin, in brackets."""
    told = "versions " + ", ".join(model.versions) if len(model.versions) > 1 else f"version {model.versions[0]}"
    return f"{model.name} ({told}, {model.origin})"


def verdict(difference: Difference, comparison: Comparison) -> str:
    """Returns the verdict with the models' names."""
    for place, name in (("first", comparison.first.name), ("second", comparison.second.name)):
        if difference.verdict.startswith(f"{place} is"):
            return difference.verdict.replace(place, name, 1)
    return difference.verdict


def found(comparison: Comparison) -> list[str]:
    """Returns the most important findings, one sentence each."""
    told = [
        f"{verdict(each, comparison)} in {each.title}: {number(each.first)} against {number(each.second)}, "
        f"a difference of {interval(each)}"
        for each in comparison.differences
        if " is better" in each.verdict
    ]
    quality = [each for each in comparison.differences if each.key in ("accuracy", "brier", "log_loss", "mae", "mse")]
    if quality and not any(" is better" in each.verdict for each in quality):
        told.append(f"no difference of quality is shown by {number(comparison.truth.rows)} rows with known truth")
    return told or ["no difference is shown that makes one of them better"]
