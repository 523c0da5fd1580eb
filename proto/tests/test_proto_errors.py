"""Errors, names and ids."""

import pickle
import re
import uuid
from pathlib import Path

import pytest
from rendezvous_proto import errors, postbox, v1
from rendezvous_proto.errors import ERROR_TABLE, ErrorCode, InternalError, InvalidRequestError, RendezvousError
from rendezvous_proto.ids import new_id


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_a_leaf_that_survives_the_way(code: ErrorCode) -> None:
    """Each code has its own exception, which survives a message and a pickle with all its particulars."""
    error = RendezvousError.of(code, "what, value, limit", {"limit": 3})
    assert (type(error).__name__.removesuffix("Error")) == "".join(part.capitalize() for part in code.name.split("_"))
    for twin in (RendezvousError.from_proto(error.to_proto()), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert (twin.code, twin.message, twin.attributes) == (code, "what, value, limit", {"limit": "3"})
    assert str(error) == error.message
    assert error.facts is ERROR_TABLE[code]
    assert error.retryable is error.facts.retryable
    assert type(error).__name__ in errors.__all__


def test_codes_are_those_of_the_contract() -> None:
    """Names and numbers are those of the proto enum."""
    declared = {name.removeprefix("ERROR_CODE_"): number for name, number in v1.ErrorCode.items() if number}
    assert {code.name: int(code) for code in ErrorCode} == declared


def test_leaves_are_drawn_in_the_docstring() -> None:
    """The tree in the module's docstring shows every leaf and its code."""
    drawn = re.findall(r"[├└]── (\w+) +([A-Z_]+)$", str(errors.__doc__), re.MULTILINE)
    leaves = [leaf for leaf in RendezvousError.__subclasses__() if leaf.__module__ == errors.__name__]
    assert drawn == [(leaf.__name__, leaf.code.name) for leaf in leaves]


@pytest.mark.parametrize("code", [0, 99])
def test_unknown_code_is_an_internal_error(code: int) -> None:
    """A code of a later version becomes an InternalError that keeps the message and the number."""
    error = RendezvousError.from_proto(v1.Error(code=code, message="later"))  # type: ignore[arg-type] # any number
    assert type(error) is InternalError
    assert (error.message, error.attributes) == ("later", {"unknown_code": str(code)})


@pytest.mark.parametrize("text", ["e", "é", "猫", "🙂"])
def test_errors_are_cut(text: str) -> None:
    """A message has at most 1,000 characters and 1,500 bytes; attributes 4 KiB, the last are left out."""
    error = InvalidRequestError(text * 5000, {f"{index}": text * 3000 for index in range(100)})
    carried = error.to_proto()
    assert error.message == carried.message == str(error)
    assert len(carried.message) <= 1000
    assert len(carried.message.encode()) <= 1500
    assert carried.message.endswith(text + "...")
    assert sum(len((name + value).encode()) for name, value in carried.attributes.items()) <= 4096
    assert carried.attributes["0"] == text * 80 + "..."


def test_what_fits_is_not_cut() -> None:
    """1,000 characters and 4 KiB of attributes travel as they are."""
    error = InvalidRequestError("x" * 1000, {"a": "y" * 4095})
    assert (error.to_proto().message, dict(error.to_proto().attributes)) == ("x" * 1000, {"a": "y" * 4095})


def test_page_shows_the_table() -> None:
    """The table in docs/protocol.md is that of the code, and rules are numbered once."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()
    for code, facts in ERROR_TABLE.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {int(code)} | {code.name} |"))
        cells = [cell.strip() for cell in row.split("|")[3:7]]
        assert cells == [facts.meaning, "yes" if facts.retryable else "no", facts.grpc_status, str(facts.http_status)]
    rules = re.findall(r"^\| P(\d+) \|", page, re.MULTILINE)
    assert rules == sorted(set(rules), key=int)


@pytest.mark.parametrize("name", ["a", "credit", "A-b_9", "x" * 64])
def test_names_are_taken(name: str) -> None:
    """Names of the allowed characters and length are taken."""
    assert postbox.check_name("endpoint", name) == name
    assert postbox.score_subject(name, "m", "r") == f"rv.{name}.score.m.r"


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "a\n", "é", "x" * 65, "a/b", "../x", "a\r\nb"])
def test_names_that_break_out_are_refused(name: str) -> None:
    """What could break out of a subject or key is refused, with kind, value and what is allowed."""
    with pytest.raises(InvalidRequestError, match=r"endpoint .* use 1 to 64 of A-Z a-z 0-9 _ -") as caught:
        postbox.input_subject(name)
    assert caught.value.attributes["kind"] == "endpoint"
    for made in (postbox.raw_subject, postbox.decision_subject, postbox.durable_stream, postbox.score_stream):
        with pytest.raises(InvalidRequestError):
            made(name)


def test_names_in_the_postbox() -> None:
    """Subjects, streams, consumers and keys have the forms of the protocol."""
    assert postbox.durable_subjects("e") == [
        "rv.e.raw",
        "rv.e.raw.*",
        "rv.e.input",
        "rv.e.decision",
        "rv.e.feedback",
    ]
    assert (postbox.score_subjects("e"), postbox.router_scores_subject("r1")) == ("rv.e.score.>", "rv.*.score.*.r1")
    assert (postbox.durable_stream("e"), postbox.score_stream("e")) == ("RV_e", "RV_e_SCORES")
    assert postbox.consumer_name("boosted", "1.2.0") == "boosted__1-2-0"
    assert postbox.model_key("e", "m", "1.0") == "e.m.1-0"
    assert postbox.replica_key("e", "m", "1.0", "r") == "e.m.1-0.r"
    assert (postbox.endpoint_key("e"), postbox.router_key("r")) == ("e", "r")


@pytest.mark.parametrize("version", ["", "1 0", "1*", "1>", "v\n", "x" * 65])
def test_versions_that_break_out_are_refused(version: str) -> None:
    """A version may hold dots, and nothing else beyond a name."""
    assert postbox.check_version("1.0-rc_1") == "1.0-rc_1"
    with pytest.raises(InvalidRequestError, match="version"):
        postbox.consumer_name("m", version)


def test_long_names_are_cut_in_messages() -> None:
    """A message never repeats a value of any length."""
    with pytest.raises(InvalidRequestError) as caught:
        postbox.check_name("model", "x" * 100_000)
    assert len(caught.value.message) < 250


def test_ids_are_sortable_uuids() -> None:
    """Ids are UUIDs version 7 in canonical text, unique, in the order of their making, and may be request ids."""
    made = [new_id() for _ in range(200)]
    assert len(set(made)) == 200
    assert made == sorted(made)
    for each in made:
        assert (str(uuid.UUID(each)), uuid.UUID(each).version) == (each, 7)
        assert postbox.check_name("request id", each) == each
