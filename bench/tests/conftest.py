"""Makes the repository's root importable, from which the bench is run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
