"""Log events: text and JSON, fields, levels; secrets stay out."""

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_sdk.logs import add_log_fields, configure_logs

_log = logging.getLogger("rendezvous_sdk.of_a_test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """What `configure_logs` sets belongs to the process: it is put back."""
    root = logging.getLogger()
    handlers, level, hook = list(root.handlers), root.level, sys.excepthook
    yield
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)
    logging.captureWarnings(False)


def _events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _raised(message: str) -> ValueError:
    try:
        raise ValueError(message)  # noqa: TRY301 - for its traceback
    except ValueError as error:
        return error


def test_an_event_in_json() -> None:
    """One object a line: time in UTC with microseconds, level, logger, event, the event's and the process's fields."""
    stream = io.StringIO()
    configure_logs("info", "json", stream, endpoint="credit", model="tree")
    add_log_fields(replica="r-1")
    _log.warning("parcel %s\nfailed", "p-1", extra={"parcel_id": "p-1", "error_code": "MODEL_FAILED", "model": "other"})
    _log.debug("below the level")
    (event,) = _events(stream)
    moment = datetime.fromisoformat(event["time"])
    assert event.pop("time") == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert event == {
        "level": "warning",
        "logger": "rendezvous_sdk.of_a_test",
        "event": "parcel p-1\nfailed",
        "parcel_id": "p-1",
        "error_code": "MODEL_FAILED",
        "model": "other",
        "endpoint": "credit",
        "replica": "r-1",
    }


def test_an_exception_in_json() -> None:
    """The traceback is one string of the same object; `critical` counts as error."""
    stream = io.StringIO()
    configure_logs(format="json", stream=stream)
    _log.critical("failed", exc_info=_raised("no such column"))
    (event,) = _events(stream)
    assert event["level"] == "error"
    assert event["exception"].startswith("Traceback")
    assert event["exception"].endswith("ValueError: no such column")


def test_an_event_in_text() -> None:
    """The same fields stand at the end of the line as key=value, before a traceback."""
    stream = io.StringIO()
    configure_logs("debug", "text", stream, endpoint="credit")
    _log.error("parcel failed", exc_info=_raised("no"), extra={"parcel_id": "p-1", "why": 'a "b" c'})
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith(
        ' ERROR rendezvous_sdk.of_a_test: parcel failed parcel_id=p-1 why="a \\"b\\" c" endpoint=credit'
    )
    assert rest[0].startswith("Traceback")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_passwords_of_addresses_stay_out(log_format: str) -> None:
    """User and password of each address are replaced, in the message, a field and a traceback."""
    stream = io.StringIO()
    configure_logs(format=log_format, stream=stream)
    url = "nats://me:s3cret@a:4222,nats://s3cret@b:4222"
    _log.error("NATS at %s", url, extra={"address": url}, exc_info=OSError(url))
    assert "s3cret" not in stream.getvalue()
    assert stream.getvalue().count("nats://***@b:4222") == 3


def test_environment_and_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment sets level and format; an argument goes before; an empty variable sets nothing."""
    monkeypatch.setenv("RENDEZVOUS_LOG_LEVEL", "ERROR")
    monkeypatch.setenv("RENDEZVOUS_LOG_FORMAT", "json")
    stream = io.StringIO()
    configure_logs(stream=stream)
    _log.warning("not shown")
    _log.error("shown")
    assert [event["event"] for event in _events(stream)] == ["shown"]
    monkeypatch.setenv("RENDEZVOUS_LOG_FORMAT", "")
    again = io.StringIO()
    configure_logs("info", stream=again)
    _log.info("shown")
    assert again.getvalue().endswith(" INFO rendezvous_sdk.of_a_test: shown\n")
    assert len(_events(stream)) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"level": "loud"}, "log level (RENDEZVOUS_LOG_LEVEL) is 'loud': use one of debug, info, warning, error"),
        ({"format": "xml"}, "log format (RENDEZVOUS_LOG_FORMAT) is 'xml': use one of text, json"),
    ],
)
def test_unknown_words(arguments: dict[str, Any], expected: str) -> None:
    """An unknown level or format is named with what is allowed."""
    with pytest.raises(InvalidRequestError, match="use one of") as caught:
        configure_logs(**arguments)
    assert caught.value.message == expected


def test_warnings_are_events() -> None:
    """A warning of Python becomes one event."""
    stream = io.StringIO()
    configure_logs(format="json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)  # `catch_warnings` of pytest has taken it back
        warnings.warn("columns of another order", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    (event,) = _events(stream)
    assert (event["level"], event["logger"]) == ("warning", "py.warnings")


def test_an_uncaught_error_in_json() -> None:
    """With `json`, the error that ends a process is an event as well: stderr holds nothing else."""
    code = "from rendezvous_sdk.logs import configure_logs; configure_logs(); raise ValueError('no')"
    environment = {**os.environ, "RENDEZVOUS_LOG_FORMAT": "json"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert done.returncode == 1
    (event,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert event["event"] == "ended by ValueError: no"
