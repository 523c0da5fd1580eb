"""Where the trained models are kept: skops files, which hold no code, unlike pickles."""

from pathlib import Path
from typing import Any

from skops import io as skops_io

FOLDER = Path(__file__).parent / "artefacts"
REPORT = FOLDER / "training.json"
"""What the models were trained on, and how well they do."""
# skops does not trust trees by itself, because a doctored file could crash the process; train.py wrote these.
_TRUSTED = ("sklearn.tree._tree.Tree",)


def find_artefact(name: str) -> Path:
    """Returns the file of the model *name*, which may not exist yet."""
    return FOLDER / f"{name}.skops"


def save_estimator(name: str, estimator: object) -> None:
    """Writes a fitted scikit-learn *estimator* to the file of the model *name*."""
    FOLDER.mkdir(exist_ok=True)
    skops_io.dump(estimator, find_artefact(name))


def load_estimator(name: str) -> Any:
    """Returns the fitted scikit-learn estimator of the model *name*.

    Raises:
        FileNotFoundError: it was not trained yet.
    """
    path = find_artefact(name)
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not there: train first, with `python -m examples.credit.train`")
    return skops_io.load(path, trusted=list(_TRUSTED))
