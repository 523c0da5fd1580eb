"""ONNX files, run by onnxruntime. Needs the extra `rendezvous-sdk[onnx]`. Nothing in the file is executed as code."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rendezvous_proto.errors import InvalidRequestError, SignatureMismatchError

from rendezvous_sdk.model import Columns, Model, as_model
from rendezvous_sdk.scorers._tables import stack_matrix

__all__ = ["load_onnx"]

_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


def load_onnx(path: Path, *, outputs: Columns | None = None, threads: int = 1) -> Model:
    """Returns the network or pipeline in an ONNX file as a model.

    A file with one input gets all columns side by side, in the order in which they were sent, unless a
    column has the input's name; a file with several inputs gets each column under its name. An output of
    shape (rows, n) stays one column of shape [n]; maps of class to probability (ZipMap) become one column
    for each class.

    Args:
        path: the file.
        outputs: names for the file's outputs, in their order; None keeps the file's names. Fewer names than
            outputs take the first.
        threads: threads of one run.

    Raises:
        InvalidRequestError: an input has a type that a frame cannot give, or the file cannot be read.
        ImportError: the extra is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError(
            f"{path.name} needs onnxruntime; install it with: pip install 'rendezvous-sdk[onnx]'"
        ) from error
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(
            str(path), session_options, providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # onnxruntime's own errors have no common root
        raise InvalidRequestError(f"{path.name} cannot be read as ONNX: {error}") from error
    scorer = _OnnxScorer(session, outputs)
    made = as_model(scorer, outputs=outputs).with_info(description=f"ONNX file {path.name}")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)[:64]
    return Model(score=made.score, takes="columns", name=name, info=made.info, source=path)


class _OnnxScorer:
    def __init__(self, session: Any, outputs: Columns | None) -> None:
        self._session = session
        self._inputs = [(item.name, self._dtype_of(item)) for item in session.get_inputs()]
        self._ranks = {item.name: len(item.shape) for item in session.get_inputs()}
        given = [outputs] if isinstance(outputs, str) else list(outputs or ())
        names = [item.name for item in session.get_outputs()]
        if len(given) > len(names):
            raise InvalidRequestError(f"{len(given)} outputs are named, the file has {len(names)}: {', '.join(names)}")
        self._asked = names[: len(given)] if given else names
        self._outputs = given or names

    def score(self, columns: dict[str, NDArray[Any]]) -> dict[str, Any]:
        feed = self._feed(columns)
        results = self._session.run(self._asked, feed)
        named: dict[str, Any] = {}
        for name, result in zip(self._outputs, results, strict=True):
            named.update(_columns_of(name, result))
        return named

    def _feed(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if len(self._inputs) == 1 and self._inputs[0][0] not in columns:
            name, dtype = self._inputs[0]
            return {name: stack_matrix(columns, dtype)}
        feed = {}
        for name, dtype in self._inputs:
            if name not in columns:
                raise SignatureMismatchError(f"column {name!r} is absent; the ONNX file takes it", {"column": name})
            values = np.ascontiguousarray(columns[name], dtype=dtype)
            feed[name] = values[:, np.newaxis] if values.ndim == 1 and self._ranks[name] == 2 else values
        return feed

    @staticmethod
    def _dtype_of(item: Any) -> Any:
        if item.type not in _DTYPES:
            raise InvalidRequestError(
                f"input {item.name!r} is of type {item.type}; a frame can give {', '.join(_DTYPES)}"
            )
        return _DTYPES[item.type]


def _columns_of(name: str, result: Any) -> dict[str, Any]:
    if isinstance(result, list) and result and isinstance(result[0], Mapping):
        return {f"{name}_{key}": np.array([row[key] for row in result]) for key in result[0]}
    array = np.asarray(result)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return {name: array.tolist() if array.dtype.kind in "OU" else array}
