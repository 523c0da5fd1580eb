"""What several groups look at."""

import re
import uuid

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, RendezvousError
from rendezvous_proto.frames import check_frame
from rendezvous_proto.signatures import check_signature

from rendezvous_router.conformance.caller import code_name
from rendezvous_router.conformance.case import Failed, expect, expect_equal
from rendezvous_router.conformance.frames import difference
from rendezvous_router.conformance.site import Site

_TRACES = re.compile(r'Traceback|\n\s+at |File "|\.java:\d+|\.py:\d+|call stack')
_MESSAGE_CHARACTERS = 400


def check_outputs(site: Site, outputs: v1.Frame, rows: int) -> None:
    """Expects a sound frame of *rows* rows that fits the declared outputs."""
    expect_equal("the number of output rows", outputs.rows, rows)
    try:
        check_frame(outputs)
        check_signature(outputs, list(site.inputs.outputs.values()), what="the answer")
    except RendezvousError as error:
        raise Failed(f"the outputs are not sound: {error.message}") from error


def check_echo(inputs: v1.Frame, outputs: v1.Frame) -> None:
    """Expects the probe's echo: every column as it was sent, and `strict` 0.5 in each row."""
    expect_equal("the number of output rows", outputs.rows, inputs.rows)
    try:
        check_frame(outputs)
    except InvalidFrameError as error:
        raise Failed(f"the outputs are not sound: {error.message}") from error
    columns = {column.name: column for column in outputs.columns}
    for sent in inputs.columns:
        if sent.name == "command":
            continue
        if sent.name not in columns:
            raise Failed(f"column {sent.name!r} did not come back; there are {', '.join(columns)}")
        if difference_ := difference(sent, columns[sent.name], inputs.rows):
            raise Failed(difference_)
    expect("strict" in columns, "there is no column 'strict'")


def check_made_id(request_id: str) -> None:
    """Expects an id as servers make them (P3): UUID version 7, canonical text."""
    try:
        made = uuid.UUID(request_id)
    except ValueError:
        raise Failed(f"the id that was made, {request_id!r}, is no UUID") from None
    expect_equal("the id that was made", request_id, str(made))
    expect_equal("its UUID version", made.version, 7)


def check_message(error: v1.Error, *parts: str) -> None:
    """Expects a message for people (P81): these parts, one line, no trace, not too long."""
    for part in parts:
        expect(part in error.message, f"the message {error.message!r} does not say {part!r}")
    expect("\n" not in error.message, f"the message has several lines: {error.message!r}")
    expect(not _TRACES.search(error.message), f"the message has a stack trace: {error.message!r}")
    expect(len(error.message) <= _MESSAGE_CHARACTERS, f"the message has {len(error.message)} characters")


def check_items(score: v1.ParcelScore, parcel: v1.Parcel, *codes: str) -> None:
    """Expects one answer a request, in order (P26), with these error codes; empty: none."""
    expect_equal("the parcel's id", score.parcel_id, parcel.parcel_id)
    asked = [item.request_id for item in parcel.items]
    expect_equal("the answered requests", [item.request_id for item in score.items], asked)
    actual = [code_name(item.error) if item.HasField("error") else "" for item in score.items]
    expected = list(codes) if codes else [""] * len(asked)
    said = next((item.error.message for item in score.items if item.HasField("error")), "")
    expect(actual == expected, f"the errors are {actual}; expected {expected}; first message: {said!r}")
    rows = [0 if code else item.rows for code, item in zip(expected, parcel.items, strict=True)]
    expect_equal("the rows of the items", [item.rows for item in score.items], rows)
    expect_equal("the number of output rows", score.outputs.rows, sum(rows))
    expect(score.HasField("outputs") == any(rows), "outputs are there without rows, or missing with them")
