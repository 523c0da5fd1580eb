"""Writes what is generated from the specification's structs; with `--check`, says whether it is up to date.

Generated are the JSON Schema and the tables of fields in docs/policy.md.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from rendezvous.spec import schema_text

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "rendezvous" / "src" / "rendezvous" / "endpoint.schema.json"
REFERENCE = ROOT / "docs" / "policy.md"
BEGIN, END = "<!-- fields: begin -->", "<!-- fields: end -->"
SECTIONS = {
    "EndpointSpec": "the endpoint",
    "ColumnSpec": "`inputs[]`, `outputs[]`, `enrichers.<name>.outputs[]`",
    "ModelSpec": "`models.<name>`",
    "EnricherSpec": "`enrichers.<name>`",
    "PolicySpec": "`policy`",
    "StepSpec": "`policy.steps[]`",
    "LimitsSpec": "`limits`",
    "PostboxSpec": "`postbox`",
}


def field_tables() -> str:
    """The tables of fields, in Markdown."""
    parts = json.loads(schema_text())["$defs"]
    return "\n".join(_table(title, parts[name]) for name, title in SECTIONS.items())


def _table(title: str, part: dict[str, Any]) -> str:
    rows = [f"### In {title}", "", "| field | default | meaning |", "|---|---|---|"]
    for name, field in part["properties"].items():
        default = "required" if name in part.get("required", []) else f"`{json.dumps(field.get('default'))}`"
        # A default that is a part of its own is described by that part's table.
        default = "its own defaults" if default.startswith('`{"') else default.replace("`null`", "not given")
        rows.append(f"| `{name}` | {default} | {field.get('description', '')} |")
    return "\n".join([*rows, ""])


def generated() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    page = REFERENCE.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    page = pattern.sub(lambda _: f"{BEGIN}\n\n{field_tables()}\n{END}", page)
    return {SCHEMA: schema_text(), REFERENCE: page}


def main() -> int:
    """Write the files, or compare them; exit status 1: one differs."""
    status = 0
    for path, text in generated().items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path.relative_to(ROOT)} is out of date; run: python rendezvous/generate.py")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
