"""What an author may write as a model, and in which shape the input comes."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError, ModelFailedError
from rendezvous_proto.frames import FrameView
from rendezvous_sdk import Model, as_model, model, testing


class Whole:
    """Notes the order of its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def setup(self) -> None:
        """Called first."""
        self.calls.append("setup")

    def score(self, table: pd.DataFrame) -> dict[str, Any]:
        """Called between."""
        self.calls.append(type(table).__name__)
        return {"y": table["x"]}

    def close(self) -> None:
        """Called last."""
        self.calls.append("close")


def test_a_class_is_set_up_scored_and_closed() -> None:
    """`setup` comes before the first table, `close` after the last."""
    whole = Whole()
    with testing.Postbox(whole) as box:
        assert box.score({"x": [1.0]})["y"].tolist() == [1.0]
    assert whole.calls == ["setup", "DataFrame", "close"]
    assert as_model(Whole).name == "Whole"


def takes_nothing(table):  # type: ignore[no-untyped-def]  # noqa: D103
    return {"y": table["x"]}


def takes_pandas(table: pd.DataFrame) -> Any:
    """Input as pandas."""
    return {"y": table["x"]}


def takes_records(table: list[dict[str, Any]]) -> Any:
    """Input as records."""
    return [{"y": row["x"]} for row in table]


def takes_arrow(table: pa.Table) -> Any:
    """Input as Arrow."""
    return {"y": table.column("x")}


def takes_frame(view: FrameView) -> Any:
    """Input as a view."""
    return {"y": view["x"]}


def takes_columns(table: dict[str, NDArray[Any]]) -> Any:
    """Input as arrays."""
    return {"y": table["x"]}


def takes_text(table: "pd.DataFrame") -> Any:
    """Input by an annotation in quotes."""
    return {"y": table["x"]}


@pytest.mark.parametrize(
    ("target", "takes"),
    [
        (takes_nothing, "columns"),
        (takes_pandas, "pandas"),
        (takes_records, "records"),
        (takes_arrow, "arrow"),
        (takes_frame, "frame"),
        (takes_columns, "columns"),
        (takes_text, "pandas"),
    ],
)
def test_the_annotation_asks_for_a_shape(target: Any, takes: str) -> None:
    """The parameter's annotation decides what `score` gets; an option goes before it."""
    assert as_model(target).takes == takes
    assert as_model(target, takes="records").takes == "records"
    with testing.Postbox(target) as box:
        assert box.score({"x": [1.0, 2.0]})["y"].tolist() == [1.0, 2.0]


def test_missing_values_reach_the_model_as_its_shape_has_them() -> None:
    """Columns: NaN in floats and in integers that become floats, None in text."""
    seen: dict[str, Any] = {}

    def look(table: dict[str, NDArray[Any]]) -> dict[str, Any]:
        seen.update(table)
        return {"y": np.zeros(2)}

    with testing.Postbox(look) as box:
        box.score({"f": [1.5, None], "i": [None, 2], "s": ["a", None], "whole": [1, 2]})
    assert seen["f"].tolist()[0] == 1.5
    assert np.isnan(seen["f"][1])
    assert np.isnan(seen["i"][0])
    assert seen["i"][1] == 2.0
    assert seen["s"].tolist() == ["a", None]
    assert seen["whole"].dtype == np.int64


def test_the_decorator_declares() -> None:
    """Task, labels, training and outputs are in the model's information; the function stays callable."""

    @model(
        outputs={"p": "FP64", "label": "STRING"},
        task="classification",
        labels=["good", "bad"],
        training=v1.Training(data_sha256="ab", metrics={"auc": 0.8}),
        name="tree",
    )
    def score(table: dict[str, Any]) -> dict[str, Any]:
        return {"p": table["x"], "label": ["good"] * len(table["x"])}

    made = as_model(score)
    assert score({"x": [1.0]})["label"] == ["good"]
    assert (made.name, made.info.task, list(made.info.labels)) == ("tree", "classification", ["good", "bad"])
    assert [spec.name for spec in made.info.signature.outputs] == ["p", "label"]
    assert made.info.training.metrics["auc"] == 0.8
    assert isinstance(as_model(made, takes="pandas"), Model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: as_model(3), "3 is no model"),
        (lambda: as_model(lambda: None), "takes 0 arguments"),
        (lambda: as_model(lambda a, b: None), "takes 2 arguments"),
        (lambda: as_model(takes_pandas, takes="polars"), "takes is 'polars'; use one of columns, pandas"),  # type: ignore[arg-type]
        (lambda: model(inputs=["x"]), "inputs need types"),
        (lambda: model(outputs={"p": "DOUBLE"}), "'p' has the type 'DOUBLE'; use one of BOOL"),
        (lambda: testing.Postbox(takes_pandas, name="a b"), "model 'a b' is not allowed"),
    ],
)
def test_what_is_no_model_is_refused(make: Any, message: str) -> None:
    """Mistakes of the author are told before anything is served."""
    with pytest.raises(InvalidRequestError, match=message):
        make()


def test_a_coroutine_function_is_refused_with_a_reason() -> None:
    """`async def score` fails with a message that says what to write."""

    async def score(table: dict[str, Any]) -> dict[str, Any]:
        return table

    with testing.Postbox(score) as box, pytest.raises(ModelFailedError, match="write a plain function"):
        box.score({"x": [1.0]})
