"""Log events of every process: one line each to stderr, as text or as JSON.

`RENDEZVOUS_LOG_FORMAT` is `text` (default) or `json`; `RENDEZVOUS_LOG_LEVEL` is `debug`, `info` (default), `warning` or
`error`. An event's fields are given as `extra={...}` of the call. Those of the whole process are added to each event,
and where OpenTelemetry is set up, ids of the trace in which it happened. No field ever holds a payload or a key; the
user and password of an address are left out.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter
from rendezvous_proto.errors import InvalidRequestError

__all__ = ["add_log_fields", "configure_logs"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_FORMATS = ("text", "json")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_NAMES = {"asctime": "time", "levelname": "level", "name": "logger", "message": "event", "exc_info": "exception"}
_SECRET = re.compile(r"(?<=://)[^\s\"'<>]+@")
"""From the scheme to the last @ before a space or quote: a password may hold @ and /."""
_PLAIN = re.compile(r"[^\s\"=]+")


def configure_logs(
    level: str | None = None,
    format: str | None = None,  # noqa: A002 - what it is called everywhere
    stream: TextIO | None = None,
    **constant_fields: object,
) -> None:
    """Sends the log events of this process to *stream*. Called again, it replaces what it had set before.

    Handlers that others have set on the root logger stay. Python's warnings become events, too; with `json`, so do
    errors that nobody catches, so that stderr holds nothing but JSON.

    Args:
        level: `debug`, `info`, `warning` or `error`; None takes `RENDEZVOUS_LOG_LEVEL`, else `info`.
        format: `text` or `json`; None takes `RENDEZVOUS_LOG_FORMAT`, else `text`.
        stream: None takes stderr.
        constant_fields: fields of every event, such as `endpoint` and `model`.

    Raises:
        InvalidRequestError: unknown level or format.
    """
    number = _LEVELS[_chosen("log level", "RENDEZVOUS_LOG_LEVEL", level, _LEVELS, "info")]
    is_json = _chosen("log format", "RENDEZVOUS_LOG_FORMAT", format, _FORMATS, "text") == "json"
    handler = _EventHandler(stream)
    handler.setFormatter(_JsonFormatter() if is_json else _TextFormatter(_TEXT))
    handler.fields.update(constant_fields)
    root = logging.getLogger()
    for earlier in _own_handlers():
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(number)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught if is_json else sys.__excepthook__


def add_log_fields(**fields: object) -> None:
    """Adds fields of every event from now on; nothing happens where `configure_logs` was not called.

    Args:
        fields: values, or functions that return them, called at each event.
    """
    for handler in _own_handlers():
        handler.fields.update(fields)


def _chosen(
    what: str, variable: str, given: str | None, allowed: "Mapping[str, int] | tuple[str, ...]", or_: str
) -> str:
    text = (given if given is not None else os.environ.get(variable, "")).strip().lower() or or_
    if text not in allowed:
        known = ", ".join(each for each in allowed if each != "critical")
        raise InvalidRequestError(f"{what} ({variable}) is {text!r}: use one of {known}", {"variable": variable})
    return text


def _own_handlers() -> "list[_EventHandler]":
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _EventHandler)]


class _EventHandler(logging.StreamHandler[TextIO]):
    """Completes each event with the fields of the process and the ids of the present span."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream or sys.stderr)
        self.fields: dict[str, object] = {}
        self._is_to_stderr = stream is None

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_to_stderr:
            self.stream = sys.stderr  # whatever that is by now: tests of commands replace it for a while
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        own = record.__dict__
        constant = {name: value() if callable(value) else value for name, value in self.fields.items()}
        for name, value in {**constant, **_span_fields()}.items():
            own.setdefault(name, value)
        return _SECRET.sub("***@", super().format(record))


class _JsonFormatter(JsonFormatter):
    def __init__(self) -> None:
        super().__init__(["asctime", "levelname", "name", "message"], rename_fields=_NAMES)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002 - logging's
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        level = str(log_data["level"]).lower()
        log_data["level"] = "error" if level == "critical" else level
        return log_data


class _TextFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        fields = merge_record_extra(record, {}, RESERVED_ATTRS)
        return " ".join([super().formatMessage(record), *(f"{name}={_shown(fields[name])}" for name in fields)])


def _shown(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _span_fields() -> dict[str, object]:
    """Returns the ids of the present span; nothing where the process does not use OpenTelemetry."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None or not hasattr(api, "get_current_span"):  # another thread may be importing it
        return {}
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(__name__).error("ended by %s: %s", kind.__name__, error, exc_info=(kind, error, trace))
