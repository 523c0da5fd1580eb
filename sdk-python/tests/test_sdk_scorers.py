"""Ready-made scorers: files that people already have."""

import builtins
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
import skops.io
from rendezvous_proto.errors import InvalidRequestError, RendezvousError
from rendezvous_sdk import testing
from rendezvous_sdk.cli import import_target, parse_duration_s
from rendezvous_sdk.scorers import is_model_file, load_model_file
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

ROWS = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": ["x", "y", "x", "y"]})
TARGET = np.array(["good", "good", "bad", "bad"])


def classifier() -> Any:
    """A fitted pipeline with a text column."""
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["b"]), remainder="passthrough")
    return make_pipeline(encode, LogisticRegression()).fit(ROWS, TARGET)


def test_a_skops_pipeline_gives_probabilities_and_label(tmp_path: Path) -> None:
    """A classifier on a DataFrame: one column a class and the label; the order of the columns does not matter."""
    fitted = classifier()
    skops.io.dump(fitted, tmp_path / "tree.v1.skops")
    made = load_model_file(tmp_path / "tree.v1.skops")
    assert (made.name, made.info.task, list(made.info.labels)) == ("tree_v1", "classification", ["bad", "good"])
    with testing.Postbox(made) as box:
        answer = box.score(ROWS[["b", "a"]])
        expected = fitted.predict_proba(ROWS)
        np.testing.assert_allclose(answer["probability_bad"], expected[:, 0])
        assert answer.to_dict()["label"] == list(fitted.predict(ROWS))
        with pytest.raises(RendezvousError, match="column 'b' is absent"):
            box.score({"a": [1.0]})


@pytest.mark.parametrize(("outputs", "expected"), [("p", {"p"}), (["q", "p"], {"q", "p"})])
def test_outputs_name_the_probabilities(tmp_path: Path, outputs: Any, expected: set[str]) -> None:
    """One name for two classes is the second class; as many names as classes are all of them."""
    fitted = classifier()
    skops.io.dump(fitted, tmp_path / "m.skops")
    with testing.Postbox(load_model_file(tmp_path / "m.skops", outputs=outputs)) as box:
        answer = box.score(ROWS)
    assert set(answer.names) == expected
    np.testing.assert_allclose(answer["p"], fitted.predict_proba(ROWS)[:, 1])


def test_a_regression_on_arrays(tmp_path: Path) -> None:
    """An estimator that was fitted on arrays gets the columns side by side."""
    fitted = LinearRegression().fit(np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]), [1.0, 2.0, 6.0])
    joblib.dump(fitted, tmp_path / "m.joblib")
    made = load_model_file(tmp_path / "m.joblib", trust_pickle=True)
    with testing.Postbox(made) as box:
        assert box.score({"u": [1.0], "v": [1.0]})["prediction"] == pytest.approx(fitted.predict([[1.0, 1.0]]))
        with pytest.raises(RendezvousError, match="'v' is not numeric"):
            box.score({"u": [1.0], "v": ["a"]})


def test_pickles_need_a_word_of_trust(tmp_path: Path) -> None:
    """A joblib file and an MLflow folder are refused, naming the option."""
    joblib.dump(LinearRegression(), tmp_path / "m.joblib")
    folder = tmp_path / "flow"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}")
    for path in (tmp_path / "m.joblib", folder):
        with pytest.raises(InvalidRequestError, match=r"runs? code when it is loaded.*--trust-pickle"):
            load_model_file(path)


def test_untrusted_skops_types_are_listed(tmp_path: Path) -> None:
    """A type that skops does not know is named with the option that would trust it."""
    skops.io.dump(make_pipeline(FunctionTransformer(Path)), tmp_path / "m.skops")
    with pytest.raises(InvalidRequestError, match=r"not trusted: pathlib\.Path.*--trust-type pathlib\.Path"):
        load_model_file(tmp_path / "m.skops")


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file(tmp_path: Path) -> None:
    """A converted classifier gives its label and probabilities; outputs can be chosen and named."""
    from skl2onnx import to_onnx  # noqa: PLC0415 - slow to import

    table = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]], dtype=np.float32)
    fitted = LogisticRegression().fit(table, [0, 0, 1, 1])
    onnx = to_onnx(fitted, table[:1], options={"zipmap": False})
    (tmp_path / "m.onnx").write_bytes(onnx.SerializeToString())
    columns = {"u": table[:, 0], "v": table[:, 1]}
    with testing.Postbox(load_model_file(tmp_path / "m.onnx")) as box:
        answer = box.score(columns)
    assert answer["label"].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(answer["probabilities"], fitted.predict_proba(table), rtol=1e-5)
    with testing.Postbox(load_model_file(tmp_path / "m.onnx", outputs="class")) as box:
        assert box.score(columns).names == ("class",)
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(InvalidRequestError, match=r"bad\.onnx cannot be read as ONNX"):
        load_model_file(tmp_path / "bad.onnx")


@pytest.mark.filterwarnings("ignore")
def test_an_mlflow_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pyfunc folder is given a DataFrame; its result is called `prediction`."""
    from mlflow import pyfunc  # noqa: PLC0415 - slow to import

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")

    class Half(pyfunc.PythonModel):  # type: ignore[misc,name-defined]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input["x"] / 2

    pyfunc.save_model(str(tmp_path / "flow"), python_model=Half(), pip_requirements=[])
    made = load_model_file(tmp_path / "flow", trust_pickle=True)
    with testing.Postbox(made) as box:
        assert box.score({"x": [1.0, 2.0]})["prediction"].tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("file", "module", "extra"),
    [("m.skops", "skops", "sklearn"), ("m.onnx", "onnxruntime", "onnx"), ("flow", "mlflow", "mlflow")],
)
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, module: str, extra: str
) -> None:
    """Without the extra's package, the message says what to install."""
    path = tmp_path / file
    if path.suffix:
        path.write_bytes(b"")
    else:
        path.mkdir()
        (path / "MLmodel").write_text("")
    original = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=rf"pip install 'rendezvous-sdk\[{extra}\]'"):
        load_model_file(path, trust_pickle=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: load_model_file(Path("/nowhere.skops")), "does not exist"),
        (lambda: load_model_file(Path(__file__)), "is of no known kind"),
        (lambda: load_model_file(Path(__file__).parent), "no MLflow folder"),
        (lambda: import_target("nothing"), "neither a file that exists nor package.module:name"),
        (lambda: import_target("no_such_module:x"), "module 'no_such_module' not found"),
        (lambda: import_target("json:nothing"), "module 'json' has no 'nothing'"),
        (lambda: parse_duration_s("soon"), "'soon' is no duration"),
    ],
)
def test_targets_that_are_nothing_are_refused(make: Any, message: str) -> None:
    """Mistyped targets and durations are told with what would be right."""
    with pytest.raises(InvalidRequestError, match=message):
        make()


def test_durations_and_targets_are_read() -> None:
    """All units; files are told from module paths."""
    assert [parse_duration_s(text) for text in ("500ms", "1.5s", "2m", "3")] == [0.5, 1.5, 120.0, 3.0]
    assert import_target("json:dumps") is __import__("json").dumps
    assert is_model_file("m.skops")
    assert not is_model_file("package.module:name")
