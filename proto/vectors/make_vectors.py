"""Writes the conformance vectors from the protocol, independently of the codec under test.

Run: `python proto/vectors/make_vectors.py [--check]`. Values in JSON: 64-bit integers are decimal text, bytes are
hexadecimal, floats that JSON cannot hold are "NaN", "Infinity", "-Infinity"; null is a missing row.
"""

import json
import sys
from pathlib import Path

from error_cases import error_cases, status_cases
from frame_cases import invalid_frames, missing_cases, nan_cases, valid_frames
from postbox_cases import deadline_cases, name_cases, parcel_cases, score_cases, trace_cases
from wire import Json

FOLDER = Path(__file__).resolve().parent


def files() -> dict[Path, str]:
    """Returns every file's text."""
    topics = {
        "frames": valid_frames() + invalid_frames(),
        "missing": missing_cases(),
        "nans": nan_cases(),
        "parcels": parcel_cases(),
        "scores": score_cases(),
        "deadlines": deadline_cases(),
        "errors": error_cases(),
        "statuses": status_cases(),
        "names": name_cases(),
        "traces": trace_cases(),
    }
    return {FOLDER / f"{topic}.json": text_of(topic, cases) for topic, cases in topics.items()}


def text_of(topic: str, cases: list[Json]) -> str:
    """Returns a file's text, one case a line."""
    lines = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
    return f'{{"topic": "{topic}", "protocol": 1, "cases": [\n{lines}\n]}}\n'


def main() -> int:
    """Writes the files, or with --check says which differ."""
    made = files()
    if "--check" not in sys.argv[1:]:
        for path, text in made.items():
            path.write_text(text)
        return 0
    stale = [path.name for path, text in made.items() if not path.exists() or path.read_text() != text]
    for name in stale:
        print(f"{name} differs: run proto/vectors/make_vectors.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
