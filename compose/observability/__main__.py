"""Writes Grafana's dashboards: `python -m compose.observability [--check]`; --check says whether files are stale."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from compose.observability.dashboards import dashboards

FOLDER = Path(__file__).parent / "grafana" / "dashboards"


def main(*, check: bool) -> int:
    """Writes the files, or compares them; returns the exit status."""
    stale = [path for path in FOLDER.glob("*.json") if path.stem not in dashboards()]
    for name, board in dashboards().items():
        path = FOLDER / f"{name}.json"
        text = json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(path)
        elif not check:
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{path} is stale: run `python -m compose.observability`, and remove what it no longer writes")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
