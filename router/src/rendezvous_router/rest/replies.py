"""Answers in the form that was asked for: JSON rows or columns, CSV, Arrow."""

import io
from typing import Any

import msgspec
import pyarrow as pa
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView

from rendezvous_router.rest.columns import json_values
from rendezvous_router.rest.media import ARROW_FILE, ARROW_STREAM, CSV, JSON

__all__ = ["Headers", "answer_body", "answer_headers", "csv_of", "json_of"]

Headers = list[tuple[bytes, bytes]]

_STATUS = {
    v1.ArrivalStatus.ARRIVAL_STATUS_SCORED: "scored",
    v1.ArrivalStatus.ARRIVAL_STATUS_FAILED: "failed",
    v1.ArrivalStatus.ARRIVAL_STATUS_PENDING: "pending",
}
_encode = msgspec.json.Encoder().encode


def answer_body(reply: v1.ScoreReply, media: str, *, as_columns: bool) -> bytes:
    """Returns the body of an answer.

    Args:
        reply: what was answered.
        media: the form.
        as_columns: JSON as columns rather than rows.
    """
    if media == JSON:
        return json_of(reply, as_columns=as_columns)
    view = FrameView(reply.outputs)
    return csv_of(view) if media == CSV else _arrow_of(view, media)


def json_of(reply: v1.ScoreReply, *, as_columns: bool) -> bytes:
    """Returns an answer as JSON."""
    table = "columns" if as_columns else "rows"
    answer: dict[str, Any] = {
        "request_id": reply.request_id,
        "model": reply.model,
        "version": reply.version,
        table: _table(reply.outputs, as_columns),
        "decision": _decision(reply.decision),
        "timing": _timing(reply.timing),
    }
    if reply.scores:
        answer["scores"] = [_score(score, table, as_columns) for score in reply.scores]
    return _encode(answer)


def answer_headers(reply: v1.ScoreReply, media: str, size: int) -> Headers:
    """Returns the headers of an answer: who gave it and by which rule, too."""
    headers = [
        (b"content-type", b"text/csv; charset=utf-8; header=present" if media == CSV else media.encode("ascii")),
        (b"content-length", b"%d" % size),
        (b"x-request-id", reply.request_id.encode("ascii")),
        (b"rendezvous-model", _header(reply.model)),
        (b"rendezvous-version", _header(reply.version)),
        (b"rendezvous-rule", _header(reply.decision.rule)),
    ]
    if reply.traceparent:
        headers.append((b"traceparent", _header(reply.traceparent)))
    return headers


def csv_of(view: FrameView) -> bytes:
    """Returns a frame as CSV (RFC 4180): text in quotes, missing values empty, shaped values as JSON."""
    columns = [_cells(view, name) for name in view.names]
    lines = [",".join(map(_quoted, view.names)), *(",".join(row) for row in zip(*columns, strict=True)), ""]
    return "\r\n".join(lines).encode()


def _cells(view: FrameView, name: str) -> list[str]:
    column = view.frame.columns[view.names.index(name)]
    values = json_values(column, view.column(name))
    if column.shape:
        return ["" if value is None else _quoted(_encode(value).decode()) for value in values]
    if column.type in (v1.DataType.DATA_TYPE_STRING, v1.DataType.DATA_TYPE_BYTES):
        return ["" if value is None else _quoted(value) for value in values]
    return ["" if value is None else value if type(value) is str else _encode(value).decode() for value in values]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _arrow_of(view: FrameView, media: str) -> bytes:
    table = view.to_arrow()
    sink = io.BytesIO()
    assert media in (ARROW_STREAM, ARROW_FILE), media
    new = pa.ipc.new_stream if media == ARROW_STREAM else pa.ipc.new_file
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _table(frame: v1.Frame, as_columns: bool) -> Any:
    view = FrameView(frame)
    columns = {column.name: json_values(column, view.column(column.name)) for column in frame.columns}
    if as_columns:
        return columns
    names = view.names
    if view.rows == 1:
        return [{name: values[0] for name, values in columns.items()}]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _decision(decision: v1.Decision) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "rule": decision.rule,
        "models": list(decision.models),
        "reason": decision.reason,
        "spec_revision": decision.spec_revision,
        "decided_after_us": decision.decided_after_us,
        "deadline_left_us": decision.deadline_left_us,
    }
    if decision.arrivals:
        shown["arrivals"] = [_arrival(arrival) for arrival in decision.arrivals]
    return shown


def _arrival(arrival: v1.Arrival) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "model": arrival.model,
        "version": arrival.version,
        "role": v1.Role.Name(arrival.role).removeprefix("ROLE_").lower(),
        "status": _STATUS.get(arrival.status, "pending"),
        "after_us": arrival.after_us,
    }
    if arrival.HasField("error"):
        shown["error"] = _error(arrival.error)
    return shown


def _score(score: v1.ModelScore, table: str, as_columns: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"model": score.model, "version": score.version}
    if score.HasField("outputs"):
        shown[table] = _table(score.outputs, as_columns)
    if score.HasField("error"):
        shown["error"] = _error(score.error)
    shown["timing"] = _timing(score.timing)
    return shown


def _error(error: v1.Error) -> dict[str, str]:
    return {"code": v1.ErrorCode.Name(error.code).removeprefix("ERROR_CODE_"), "message": error.message}


def _timing(timing: v1.Timing) -> dict[str, int]:
    return {
        "received_unix_us": timing.received_unix_us,
        "started_unix_us": timing.started_unix_us,
        "finished_unix_us": timing.finished_unix_us,
    }


def _header(text: str) -> bytes:
    """Returns *text* as a header's value; what may not stand in one is left out."""
    return "".join(letter for letter in text if " " <= letter <= "~").encode("ascii")
