"""Writes the JSON Schema of endpoint specifications; with `--check`, says whether it is up to date."""

import sys
from pathlib import Path

from rendezvous.spec import schema_text

SCHEMA = Path(__file__).parent / "src" / "rendezvous" / "endpoint.schema.json"


def main() -> int:
    """Write the file, or compare it; exit status 1: it differs."""
    if "--check" not in sys.argv[1:]:
        SCHEMA.write_text(schema_text(), encoding="utf-8")
        return 0
    if SCHEMA.is_file() and SCHEMA.read_text(encoding="utf-8") == schema_text():
        return 0
    print(f"{SCHEMA.name} is out of date; run: python rendezvous/generate.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
