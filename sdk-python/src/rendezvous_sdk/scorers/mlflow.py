"""MLflow folders (flavour `python_function`). Needs the extra `rendezvous-sdk[mlflow]`.

Such a folder usually holds a pickle and may hold code of its own, so it is loaded only with an explicit word
of trust.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from rendezvous_proto.errors import InvalidRequestError

from rendezvous_sdk.model import Columns, Model, as_model

__all__ = ["load_mlflow"]


def load_mlflow(path: Path, *, outputs: Columns | None = None, trust_pickle: bool = False) -> Model:
    """Returns the model in an MLflow folder.

    It gets a DataFrame. A result without column names is called `prediction`, or `outputs`.

    Args:
        path: folder with a file `MLmodel`.
        outputs: names of the output columns.
        trust_pickle: whether the folder may run code when it is loaded.

    Raises:
        InvalidRequestError: no MLflow folder, or not trusted.
        ImportError: the extra is not installed.
    """
    if not (path / "MLmodel").is_file():
        raise InvalidRequestError(f"{path} is no MLflow folder: it has no file MLmodel")
    if not trust_pickle:
        raise InvalidRequestError(
            f"{path.name} is an MLflow folder and may run code when it is loaded: pass --trust-pickle "
            "(trust_pickle=True) if you know where it comes from"
        )
    try:
        from mlflow import pyfunc  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError(f"{path.name} needs MLflow; install it with: pip install 'rendezvous-sdk[mlflow]'") from error
    loaded = pyfunc.load_model(str(path))
    scorer = _MlflowScorer(loaded, is_named=outputs is not None)
    made = as_model(scorer, outputs=outputs, takes="pandas").with_info(description=f"MLflow folder {path.name}")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", path.resolve().name)[:64]
    return Model(score=made.score, takes="pandas", name=name, info=made.info, source=path)


class _MlflowScorer:
    def __init__(self, loaded: Any, *, is_named: bool) -> None:
        self._loaded = loaded
        self._is_named = is_named

    def score(self, table: Any) -> Any:
        result = self._loaded.predict(table)
        if hasattr(result, "columns"):
            return result.rename(columns=str)
        return np.asarray(result) if self._is_named else {"prediction": np.asarray(result)}
