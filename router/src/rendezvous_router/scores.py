"""Models' scores: checked against the parcel and the signature, then cut into one score per request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rendezvous.mailbox import Failure, Score
from rendezvous_proto.errors import ErrorCode, InvalidOutputError, RendezvousError, SignatureMismatchError
from rendezvous_proto.frames import FrameView, slice_frame
from rendezvous_proto.v1 import Column, DataType, Frame, ParcelScore

from rendezvous_router.checker import FrameChecker
from rendezvous_router.parcels import OpenParcel


@dataclass(slots=True, eq=False)
class TakenScore:
    """A model's checked score of a whole parcel."""

    message: ParcelScore
    """What the model sent."""
    scores: list[Score]
    """One for each request of the parcel, in its order."""
    arrived_at: float
    """Moment of arrival, seconds of the monotonic clock."""


class ItemColumns:
    """One request's rows in a model's outputs; columns are decoded when a policy asks for them."""

    __slots__ = ("_column_of", "frame", "rows", "start")

    def __init__(self, frame: Frame, column_of: Callable[[str], list[Any]], start: int, rows: int) -> None:
        self.frame = frame
        self._column_of = column_of
        self.start = start
        self.rows = rows

    def column(self, name: str) -> Sequence[Any]:
        """Returns the values of column *name*, one per row; None where missing."""
        return self._column_of(name)[self.start : self.start + self.rows]

    def cut(self) -> Frame:
        """Returns these rows as a frame of their own."""
        frame, start, stop = self.frame, self.start, self.start + self.rows
        if start == 0 and stop == frame.rows:
            return frame
        columns = []
        for column in frame.columns:
            if column.missing or column.shape or column.type == DataType.DATA_TYPE_BYTES:
                return slice_frame(frame, start, stop)
            if column.type == DataType.DATA_TYPE_STRING:
                strings = column.strings[start:stop]
                columns.append(Column(name=column.name, type=column.type, strings=strings))
            else:
                width = len(column.values) // frame.rows
                values = column.values[start * width : stop * width]
                columns.append(Column(name=column.name, type=column.type, values=values))
        return Frame(rows=self.rows, columns=columns)


class _DecodedOutputs:
    """Decodes each column of a frame once, for all requests of the parcel."""

    __slots__ = ("_columns", "_frame", "_view")

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._view: FrameView | None = None
        self._columns: dict[str, list[Any]] = {}

    def column(self, name: str) -> list[Any]:
        values = self._columns.get(name)
        if values is None:
            if self._view is None:
                self._view = FrameView(self._frame)
            values = self._columns[name] = self._view.column(name)
        return values


def take_score(message: ParcelScore, parcel: OpenParcel, now: float, outputs: FrameChecker | None = None) -> TakenScore:
    """Returns *message*, checked against *outputs* (None: the endpoint's) and cut.

    A score that does not fit its parcel or the endpoint's signature becomes a failure of that model for every
    request it concerns; it never raises, because a model must not be able to disturb the others.
    """
    try:
        scores = _cut_scores(message, parcel, outputs or parcel.endpoint.outputs)
    except RendezvousError as error:
        scores = _fail_all(message, parcel, error)
    return TakenScore(message=message, scores=scores, arrived_at=now)


def _cut_scores(message: ParcelScore, parcel: OpenParcel, outputs: FrameChecker) -> list[Score]:
    model, version = message.model, message.version
    items = message.items
    if [item.request_id for item in items] != parcel.request_ids:
        raise InvalidOutputError(f"model {model} answered other requests than the parcel's {len(parcel.request_ids)}")
    failures = {index: item.error for index, item in enumerate(items) if item.HasField("error")}
    scored_rows = parcel.rows - sum(parcel.request_rows[index] for index in failures)
    frame = message.outputs
    if frame.rows != scored_rows:
        raise InvalidOutputError(f"model {model} answered {frame.rows} rows, expected {scored_rows}")
    checked = _check_outputs(frame, outputs, model) if scored_rows else frame
    bad_rows = None if checked is not None else _RowChecks(frame, outputs, model)
    source = frame if checked is None else checked
    decoded = _DecodedOutputs(source)
    scores, row = [], 0
    failure: Failure | None
    for index, rows in enumerate(parcel.request_rows):
        error = failures.get(index)
        if error is not None:
            failure = Failure(error.code, error.message)
            scores.append(Score(model, version, None, failure, items[index].request_id))
            continue
        if items[index].rows != rows:
            raise InvalidOutputError(f"model {model} answered {items[index].rows} rows for a request of {rows}")
        columns = ItemColumns(source, decoded.column, row, rows)
        failure = bad_rows.failure_of(columns) if bad_rows is not None else None
        scores.append(Score(model, version, None if failure else columns, failure, items[index].request_id))
        row += rows
    return scores


def _check_outputs(frame: Frame, checker: FrameChecker, model: str) -> Frame | None:
    """Returns the frame in the signature's order, or None when it is well-formed but breaks the signature.

    Raises:
        InvalidOutputError: the frame is malformed.
    """
    try:
        return checker.accept(frame).frame
    except SignatureMismatchError:
        return None
    except RendezvousError as error:
        raise InvalidOutputError(f"model {model}: {error.message}") from error


class _RowChecks:
    """Looks at one request's rows at a time, so that a NaN in one answer fails that request alone."""

    __slots__ = ("_checker", "_frame", "_model")

    def __init__(self, frame: Frame, checker: FrameChecker, model: str) -> None:
        self._frame = frame
        self._checker = checker
        self._model = model

    def failure_of(self, columns: ItemColumns) -> Failure | None:
        try:
            self._checker.accept(columns.cut())
        except RendezvousError as error:
            return Failure(int(ErrorCode.INVALID_OUTPUT), f"model {self._model}: {error.message}")
        return None


def _fail_all(message: ParcelScore, parcel: OpenParcel, error: RendezvousError) -> list[Score]:
    failure = Failure(int(error.code), error.message)
    return [Score(message.model, message.version, None, failure) for _ in parcel.request_ids]
