"""Writes docs/features.md, what each SDK keeps to, and the table of metrics in docs/telemetry.md.

The first is made from the results of the conformance kit, the second from the router's own table.

Keep the results of a run, then write the page:

    rendezvous conformance e/m --run "python -m rendezvous_sdk.probe" --json | python router/document.py --keep python
    python router/document.py [--check]

Results are kept in docs/conformance, one small file a language; --check says whether a page is stale.
"""

import json
import sys
from pathlib import Path
from typing import Any

from rendezvous_router.conformance import CASES, Status
from rendezvous_router.telemetry.metrics import METRICS, Kind

DOCS = Path(__file__).resolve().parents[1] / "docs"
KEPT = DOCS / "conformance"
PAGE = DOCS / "features.md"
TELEMETRY = DOCS / "telemetry.md"
BEGIN, END = "<!-- metrics:begin -->\n", "<!-- metrics:end -->"
LANGUAGES = {"python": "Python", "java": "Java", "r": "R"}
"""Columns of the page, in order."""

HEAD = """# What each SDK keeps to

Written by `router/document.py` from the last run of the [conformance kit](conformance.md) on each SDK's probe;
do not edit. *yes*: passed; *no*: fails for the reason given below; *-*: not applicable, or not tried.

"""


def keep(language: str, report: dict[str, Any]) -> str:
    """Returns the part of a report that is kept, as JSON, one case a line."""
    results = {result["id"]: _outcome(result) for result in report["results"]}
    if not report["good"]:
        failed = [result["id"] for result in report["results"] if result["status"] in ("failed", "now passes")]
        raise SystemExit(f"the run on {language} failed ({', '.join(failed)}): only good runs are kept")
    lines = ",\n".join(
        f"  {json.dumps(case)}: {json.dumps(outcome, ensure_ascii=False)}" for case, outcome in results.items()
    )
    return f'{{"sdk": {json.dumps(report["model"]["sdk"])}, "results": {{\n{lines}\n}}}}\n'


def _outcome(result: dict[str, Any]) -> list[str]:
    """Returns the status, and the reason of what did not pass."""
    return [result["status"]] if result["status"] == Status.PASSED else [result["status"], result["detail"]]


def read_kept() -> dict[str, dict[str, Any]]:
    """Returns what was kept, by language."""
    return {
        language: json.loads(path.read_text(encoding="utf-8"))
        for language in LANGUAGES
        if (path := KEPT / f"{language}.json").exists()
    }


def page(kept: dict[str, dict[str, Any]]) -> str:
    """Returns the page."""
    names = [LANGUAGES[language] for language in kept]
    reasons: list[str] = []
    parts = [HEAD, _summary(kept)]
    group = ""
    for case in CASES.values():
        if case.group != group:
            group = case.group
            parts.append(f"\n## {group}\n\n| what must hold | {' | '.join(['rules', 'case', *names])} |\n")
            parts.append("|---" * (3 + len(names)) + "|\n")
        cells = [
            _cell(document["results"].get(case.id), LANGUAGES[key], case.id, reasons) for key, document in kept.items()
        ]
        parts.append(f"| {case.title} | {' '.join(case.rules)} | `{case.id}` | {' | '.join(cells)} |\n")
    if reasons:
        parts.append("\n## Why not\n\n" + "".join(f"{number}. {text}\n" for number, text in enumerate(reasons, 1)))
    return "".join(parts)


def _summary(kept: dict[str, dict[str, Any]]) -> str:
    lines = ["| SDK | passed | known failures | not applicable |\n|---|---|---|---|\n"]
    for document in kept.values():
        statuses = [outcome[0] for outcome in document["results"].values()]
        counts = [statuses.count(each) for each in (Status.PASSED, Status.KNOWN_FAILURE, Status.NOT_APPLICABLE)]
        lines.append(f"| {document['sdk']} | {' | '.join(map(str, counts))} |\n")
    return "".join(lines)


def _cell(outcome: list[str] | None, language: str, case_id: str, reasons: list[str]) -> str:
    if outcome is None or outcome[0] == Status.NOT_APPLICABLE:
        return "-"
    if outcome[0] == Status.PASSED:
        return "yes"
    reasons.append(f"{language}, `{case_id}`: {outcome[1]}")
    return f"no ({len(reasons)})"


def with_metrics(text: str) -> str:
    """Returns the page on telemetry with its table of metrics as the code has it."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    lines = ["| metric | in Prometheus | kind | unit | labels | meaning |\n|---|---|---|---|---|---|\n"]
    for metric in METRICS:
        name = metric.prometheus_name + ("_total" if metric.kind is Kind.COUNTER else "")
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        unit = f"`{metric.unit}`" if metric.unit else "-"
        cells = (f"`{metric.name}`", f"`{name}`", metric.kind, unit, labels, metric.description)
        lines.append(f"| {' | '.join(cells)} |\n")
    return f"{head}{BEGIN}{''.join(lines)}{END}{tail}"


def main() -> int:
    """Keeps a report from standard input, writes the pages, or with --check says whether one is stale."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--keep"]:
        language = arguments[1] if len(arguments) == 2 else ""
        if language not in LANGUAGES:
            raise SystemExit(f"keep which? use --keep {' or '.join(LANGUAGES)}")
        KEPT.mkdir(exist_ok=True)
        (KEPT / f"{language}.json").write_text(keep(language, json.load(sys.stdin)), encoding="utf-8")
    pages = {PAGE: page(read_kept()), TELEMETRY: with_metrics(TELEMETRY.read_text(encoding="utf-8"))}
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" not in arguments:
        for path in stale:
            path.write_text(pages[path], encoding="utf-8")
        return 0
    for path in stale:
        print(f"docs/{path.name} differs: run python router/document.py")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
