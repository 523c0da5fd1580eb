"""What a model author writes: a function, or a class with `setup`, `score` and `close`."""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar, cast

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.frames import FrameView

from rendezvous_sdk.frame import TAKES, Takes, encode_output, present, select_inputs

__all__ = ["Columns", "Model", "as_model", "model"]

Columns = str | Sequence[str] | Mapping[str, str]
"""Declared columns: one name, several names, or names with types (`{"default_probability": "FP64"}`)."""

_ATTRIBUTE = "__rendezvous_model__"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_Target = TypeVar("_Target", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A scorer with what is known about it.

    `setup`, `score_frame` and `close` are called from one thread only, one after another; from a fresh one after the
    model had to be left behind at its scoring limit.
    """

    score: Callable[[Any], Any]
    """Takes the table as `takes` says, gives any table; see `rendezvous_sdk.frame.encode_output`."""
    takes: Takes = "columns"
    """Shape in which the input is given."""
    setup: Callable[[], Any] | None = None
    """Called once before the first table."""
    close: Callable[[], Any] | None = None
    """Called once after the last table."""
    name: str = "model"
    """Name that the model gets where none is given."""
    info: v1.ModelInfo = field(default_factory=v1.ModelInfo)
    """Signature, task, labels, training, description as the author declared them."""
    source: object = None
    """The author's function or object; its file tells the repository."""

    def score_frame(self, frame: v1.Frame) -> v1.Frame:
        """Scores one table.

        Args:
            frame: at least one row.

        Returns:
            As many rows.

        Raises:
            InvalidFrameError: the frame contradicts itself.
            SignatureMismatchError: a declared input column is missing or is not as declared.
            InvalidOutputError: the model gave something else than it must.
            Exception: whatever the author's code raises.
        """
        signature = self.info.signature
        view = FrameView(frame)  # the whole frame is sound before any part of it is used
        selected = select_inputs(frame, signature.inputs)
        if selected is not frame:
            view = FrameView(selected)
        output = self.score(present(view, self.takes))
        if inspect.iscoroutine(output):
            output.close()
            raise TypeError("score is a coroutine function: write a plain function, it has a thread of its own")
        return encode_output(output, signature.outputs, view.rows)

    def with_info(self, **fields: Any) -> Self:
        """Returns a copy with these fields of `info` set."""
        info = v1.ModelInfo()
        info.CopyFrom(self.info)
        info.MergeFrom(v1.ModelInfo(**fields))
        return replace(self, info=info)


def model(
    *,
    outputs: Columns | None = None,
    inputs: Columns | None = None,
    takes: Takes | None = None,
    task: str = "",
    labels: Sequence[str] = (),
    training: v1.Training | None = None,
    description: str = "",
    name: str | None = None,
) -> Callable[[_Target], _Target]:
    """Declares what is known about a model; the decorated function or class stays what it is.

    Args:
        outputs: columns that it gives. With types, every table that it gives is checked against them.
        inputs: columns that it takes, with types. Others are left out, these are checked.
        takes: shape of the input; None follows the annotation of `score`'s parameter, else `columns`.
        task: `classification`, `regression`, ...
        labels: labels of a classification, in order.
        training: what it was trained on.
        description: for people.
        name: name of the model; None takes the function's.

    Returns:
        A decorator.

    Raises:
        InvalidRequestError: unknown `takes`, or inputs without types.
    """
    if takes is not None and takes not in TAKES:
        raise InvalidRequestError(f"takes is {takes!r}; use one of {', '.join(TAKES)}")
    declared = {
        "takes": takes,
        "name": name,
        "info": v1.ModelInfo(
            signature=v1.Signature(inputs=_specs(inputs, typed=True), outputs=_specs(outputs, typed=False)),
            task=task,
            labels=labels,
            training=training,
            description=description,
        ),
    }

    def decorate(target: _Target) -> _Target:
        setattr(target, _ATTRIBUTE, declared)
        return target

    return decorate


def as_model(target: object, *, outputs: Columns | None = None, takes: Takes | None = None) -> Model:
    """Makes a `Model` of what an author wrote.

    Args:
        target: a `Model`, a function, a class (called without arguments) or an object with `score`.
        outputs: declared output columns, where the target declares none.
        takes: shape of the input, before what the target declares.

    Raises:
        InvalidRequestError: the target has no `score`, or `score` takes another number of arguments.
    """
    if isinstance(target, Model):
        return _overridden(target, outputs, takes)
    scorer = target() if inspect.isclass(target) else target
    score = getattr(scorer, "score", scorer)
    if not callable(score):
        raise InvalidRequestError(f"{target!r} is no model: give a function or an object with a method `score`")
    declared: dict[str, Any] = getattr(target, _ATTRIBUTE, None) or getattr(score, _ATTRIBUTE, None) or {}
    own_name = getattr(target, "__name__", type(scorer).__name__)
    name = declared.get("name") or ("model" if own_name == "<lambda>" else own_name)
    made = Model(
        score=score,
        takes=declared.get("takes") or _annotated_takes(score),
        setup=getattr(scorer, "setup", None),
        close=getattr(scorer, "close", None),
        name=str(name),
        info=declared.get("info", v1.ModelInfo()),
        source=target,
    )
    return _overridden(made, outputs, takes)


def _overridden(made: Model, outputs: Columns | None, takes: Takes | None) -> Model:
    if takes is not None:
        if takes not in TAKES:
            raise InvalidRequestError(f"takes is {takes!r}; use one of {', '.join(TAKES)}")
        made = replace(made, takes=takes)
    if outputs is not None and not made.info.signature.outputs:
        made = made.with_info(signature=v1.Signature(outputs=_specs(outputs, typed=False)))
    return made


def _specs(columns: Columns | None, *, typed: bool) -> list[v1.ColumnSpec]:
    if columns is None:
        return []
    if isinstance(columns, Mapping):
        return [v1.ColumnSpec(name=name, type=_data_type(name, kind)) for name, kind in columns.items()]
    if typed:
        raise InvalidRequestError('inputs need types, as in inputs={"income": "FP64"}')
    return [v1.ColumnSpec(name=name) for name in ([columns] if isinstance(columns, str) else columns)]


def _data_type(column: str, kind: str) -> v1.DataType:
    number = v1.DataType.items()
    names = {name.removeprefix("DATA_TYPE_"): value for name, value in number if value}
    if kind not in names:
        raise InvalidRequestError(f"column {column!r} has the type {kind!r}; use one of {', '.join(names)}")
    return cast("v1.DataType", names[kind])


def _annotated_takes(score: Callable[..., Any]) -> Takes:
    """Reads the shape that the author wants from the annotation of the first parameter."""
    try:
        parameters = list(inspect.signature(score).parameters.values())
    except (TypeError, ValueError):
        return "columns"
    needed = [p for p in parameters if p.default is p.empty and p.kind in _POSITIONAL]
    if not parameters or len(needed) > 1:
        raise InvalidRequestError(f"score takes {len(needed)} arguments: it must take one, the table")
    text = _annotation_text(score, parameters[0])
    endings: dict[str, Takes] = {"DataFrame": "pandas", "Table": "arrow", "FrameView": "frame"}
    for ending, takes in endings.items():
        if text.endswith(ending):
            return takes
    return "records" if text.lower().startswith(("list[", "sequence[")) else "columns"


def _annotation_text(score: Callable[..., Any], parameter: inspect.Parameter) -> str:
    function = score if inspect.isroutine(score) else type(score).__call__
    try:
        annotation = typing.get_type_hints(function).get(parameter.name, parameter.annotation)
    except (NameError, TypeError, AttributeError):
        annotation = parameter.annotation  # a name known to the type checker only: its text must do
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).removeprefix("typing.").removeprefix("collections.abc.")
