"""Writes docs/features.md: what each SDK keeps to, from the results of the conformance kit.

Keep the results of a run, then write the page:

    rendezvous conformance e/m --run "python -m rendezvous_sdk.probe" --json | python router/document.py --keep python
    python router/document.py [--check]

Results are kept in docs/conformance, one small file a language; --check says whether the page is stale.
"""

import json
import sys
from pathlib import Path
from typing import Any

from rendezvous_router.conformance import CASES, Status

DOCS = Path(__file__).resolve().parents[1] / "docs"
KEPT = DOCS / "conformance"
PAGE = DOCS / "features.md"
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


def main() -> int:
    """Keeps a report from standard input, writes the page, or with --check says whether it is stale."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--keep"]:
        language = arguments[1] if len(arguments) == 2 else ""
        if language not in LANGUAGES:
            raise SystemExit(f"keep which? use --keep {' or '.join(LANGUAGES)}")
        KEPT.mkdir(exist_ok=True)
        (KEPT / f"{language}.json").write_text(keep(language, json.load(sys.stdin)), encoding="utf-8")
    text = page(read_kept())
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print("docs/features.md differs: run python router/document.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
