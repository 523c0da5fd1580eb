"""scikit-learn estimators: a skops file, or a pickle behind an explicit word of trust.

Needs the extra `rendezvous-sdk[sklearn]`. A skops file is checked type by type and runs no code that is not
trusted; joblib and pickle files run whatever is in them.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rendezvous_proto.errors import InvalidRequestError, SignatureMismatchError

from rendezvous_sdk.frame import FrameView, present
from rendezvous_sdk.model import Columns, Model, as_model
from rendezvous_sdk.scorers._tables import stack_matrix

__all__ = ["load_sklearn", "wrap_sklearn"]

_EXTRA = "install it with: pip install 'rendezvous-sdk[sklearn]'"


def load_sklearn(
    path: Path,
    *,
    outputs: Columns | None = None,
    trust_pickle: bool = False,
    trusted_types: Sequence[str] = (),
) -> Model:
    """Returns the estimator in a file as a model; see `wrap_sklearn`.

    Args:
        path: `.skops`, `.joblib`, `.pkl` or `.pickle`.
        outputs: names of the output columns.
        trust_pickle: whether joblib and pickle files may be loaded.
        trusted_types: types that a skops file may contain beyond those that skops trusts.

    Raises:
        InvalidRequestError: the file is not trusted; lists what would have to be trusted.
        ImportError: the extra is not installed.
    """
    if path.suffix == ".skops":
        estimator = _load_skops(path, trusted_types)
    else:
        if not trust_pickle:
            raise InvalidRequestError(
                f"{path.name} runs code when it is loaded: save it as .skops, or pass --trust-pickle "
                "(trust_pickle=True) if you know where it comes from"
            )
        estimator = _load_joblib(path)
    return replace(wrap_sklearn(estimator, name=_name_of(path), outputs=outputs), source=path)


def wrap_sklearn(estimator: Any, *, name: str, outputs: Columns | None = None) -> Model:
    """Makes a model of a fitted estimator.

    An estimator that was fitted on a DataFrame gets a DataFrame with its columns in the order of the fit;
    another gets the columns of the frame side by side, in the order in which they were sent.

    Gives `predict_proba` as one column for each class (`probability_<class>`) and the class as `label`; an
    estimator without it gives `prediction`. With `outputs`, a two-class estimator and one name give the
    probability of the second class under that name; as many names as classes, the probabilities.

    Args:
        estimator: fitted, with `predict`.
        name: name of the model where none is given.
        outputs: names of the output columns.

    Raises:
        InvalidRequestError: no `predict`.
    """
    if not hasattr(estimator, "predict"):
        raise InvalidRequestError(f"{type(estimator).__name__} has no method predict: it is no estimator")
    names = [outputs] if isinstance(outputs, str) else list(outputs or ())
    scorer = _SklearnScorer(estimator, names=len(names))
    is_classifier = hasattr(estimator, "predict_proba")
    made = as_model(scorer, outputs=outputs).with_info(
        task="classification" if is_classifier else "regression",
        labels=[str(label) for label in estimator.classes_] if is_classifier else [],
        description=f"scikit-learn {type(estimator).__name__}",
    )
    return Model(score=made.score, takes="frame", name=name, info=made.info, source=estimator)


class _SklearnScorer:
    def __init__(self, estimator: Any, *, names: int) -> None:
        self._estimator = estimator
        self._name_count = names
        self._names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
        self._has_probabilities = hasattr(estimator, "predict_proba")

    def score(self, view: FrameView) -> Any:
        table = self._table(view)
        if not self._has_probabilities:
            prediction = np.asarray(self._estimator.predict(table))
            return prediction if self._name_count else {"prediction": prediction}
        probabilities = np.asarray(self._estimator.predict_proba(table), dtype=np.float64)
        if self._name_count == 1 and probabilities.shape[1] == 2:
            return probabilities[:, 1]  # of two classes the second is the one that is asked about
        if self._name_count:
            return probabilities
        classes = self._estimator.classes_
        columns: dict[str, Any] = {
            f"probability_{label}": probabilities[:, index] for index, label in enumerate(classes)
        }
        columns["label"] = [str(label) for label in classes[probabilities.argmax(axis=1)]]
        return columns

    def _table(self, view: FrameView) -> Any:
        if not self._names:
            return stack_matrix(present(view, "columns"), np.float64)
        absent = [name for name in self._names if name not in view]
        if absent:
            raise SignatureMismatchError(
                f"column {absent[0]!r} is absent; the estimator was fitted on {', '.join(self._names)}",
                {"column": absent[0]},
            )
        return _as_fitted(present(view, "pandas")[self._names])


def _as_fitted(table: Any) -> Any:
    """Nullable dtypes become what estimators know: float64 with NaN, object with None."""
    for name in table.columns:
        column = table[name]
        if not isinstance(column.dtype, np.dtype):
            is_text = str(column.dtype).startswith(("string", "str"))
            table[name] = column.astype(object) if is_text else column.astype("float64")
    return table


def _load_skops(path: Path, trusted_types: Sequence[str]) -> Any:
    try:
        import skops.io  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError(f"{path.name} needs skops and scikit-learn; {_EXTRA}") from error
    unknown = [name for name in skops.io.get_untrusted_types(file=path) if name not in set(trusted_types)]
    if unknown:
        options = " ".join(f"--trust-type {name}" for name in unknown)
        raise InvalidRequestError(
            f"{path.name} contains types that are not trusted: {', '.join(unknown)}. If you know them, pass {options}",
            {"types": ", ".join(unknown)},
        )
    return skops.io.load(path, trusted=list(trusted_types))


def _load_joblib(path: Path) -> Any:
    try:
        import joblib  # type: ignore[import-untyped] # noqa: PLC0415 - an extra, without types
    except ImportError as error:
        raise ImportError(f"{path.name} needs joblib and scikit-learn; {_EXTRA}") from error
    loaded: Any = joblib.load(path)
    return loaded


def _name_of(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)[:64]
