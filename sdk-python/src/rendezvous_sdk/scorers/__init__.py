"""Ready-made scorers for model files: scikit-learn (skops, joblib, pickle), ONNX, MLflow.

Each lives in a module of its own and needs its extra. What is loaded is chosen by content, not by hope:
files that run code when they are loaded need `trust_pickle`.
"""

from collections.abc import Sequence
from pathlib import Path

from rendezvous_proto.errors import InvalidRequestError

from rendezvous_sdk.model import Columns, Model

__all__ = ["is_model_file", "load_model_file"]

_PICKLES = frozenset({".pkl", ".pickle", ".joblib"})


def is_model_file(target: str) -> bool:
    """Returns whether *target* names a file or folder rather than `package.module:name`."""
    path = Path(target)
    return path.exists() or path.suffix in _PICKLES | {".skops", ".onnx"}


def load_model_file(
    path: Path,
    *,
    outputs: Columns | None = None,
    trust_pickle: bool = False,
    trusted_types: Sequence[str] = (),
) -> Model:
    """Returns the model in a file or folder.

    Args:
        path: `.skops`, `.onnx`, `.joblib`, `.pkl`, or a folder with a file `MLmodel`.
        outputs: names of the output columns; None lets the scorer name them.
        trust_pickle: whether files that run code when loaded may be loaded.
        trusted_types: types that a skops file may contain beyond those that skops trusts.

    Raises:
        InvalidRequestError: nothing is there, the kind is unknown, or it is not trusted.
        ImportError: the extra is not installed; names it.
    """
    if not path.exists():
        raise InvalidRequestError(f"{path} does not exist")
    # PLC0415 below: each scorer needs its own extra.
    if path.is_dir():
        from rendezvous_sdk.scorers.mlflow import load_mlflow  # noqa: PLC0415

        return load_mlflow(path, outputs=outputs, trust_pickle=trust_pickle)
    if path.suffix == ".onnx":
        from rendezvous_sdk.scorers.onnx import load_onnx  # noqa: PLC0415

        return load_onnx(path, outputs=outputs)
    if path.suffix == ".skops" or path.suffix in _PICKLES:
        from rendezvous_sdk.scorers.sklearn import load_sklearn  # noqa: PLC0415

        return load_sklearn(path, outputs=outputs, trust_pickle=trust_pickle, trusted_types=trusted_types)
    raise InvalidRequestError(f"{path.name} is of no known kind: give .skops, .onnx, .joblib, .pkl or an MLflow folder")
