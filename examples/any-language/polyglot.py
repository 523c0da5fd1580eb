"""One endpoint, seven languages: `make polyglot`. What it does is in show.py and joining.py."""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run by its path, from wherever
    sys.exit(importlib.import_module("examples.any-language.show").main())
