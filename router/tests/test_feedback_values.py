"""What an outcome's value becomes, and which outcomes are wrong; no servers."""

from typing import Any

import pytest
from rendezvous.spec import parse_spec
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError, TooLargeError
from rendezvous_proto.v1 import BusinessKey, Outcome, OutcomeKind
from rendezvous_router.endpoint import Endpoint, compile_endpoint
from rendezvous_router.feedback.batches import MESSAGE_BYTES, Kept, digest_of, pack
from rendezvous_router.feedback.checking import (
    AHEAD_US,
    MOST_OUTCOMES,
    OutcomeChecker,
    check_count,
    refusal_of,
)

NOW_US = 1_790_000_000_000_000
TRUTH, REWARD, VERDICT = 1, 2, 3
OUTPUTS = [
    {"name": "p", "type": "FP64"},
    {"name": "label", "type": "STRING"},
    {"name": "count", "type": "INT32"},
    {"name": "fraud", "type": "BOOL"},
    {"name": "classes", "type": "FP32", "shape": [3]},
]


def endpoint_with(outputs: list[dict[str, Any]]) -> Endpoint:
    """Returns an endpoint with these output columns."""
    spec = {
        "endpoint": "e",
        "inputs": [{"name": "a", "type": "FP64"}],
        "outputs": outputs,
        "models": {"m": {"role": "champion"}},
        "policy": {"deadline": "1s", "steps": [{"until": "900ms", "take": "first"}], "otherwise": "error"},
    }
    return compile_endpoint(parse_spec(spec), 7)


def outcome_of(value: float | bool | str | None, kind: int = TRUTH, **fields: Any) -> Outcome:
    """Returns an outcome about request r."""
    target = {} if "key" in fields or "request_id" in fields else {"request_id": "r"}
    outcome = Outcome(**{"feedback_id": "f", "kind": kind, **target, **fields})
    if isinstance(value, bool):
        outcome.flag = value
    elif isinstance(value, str):
        outcome.text = value
    elif value is not None:
        outcome.number = value
    return outcome


def value_of(outcome: Outcome) -> float | bool | str:
    """Returns the value of an outcome."""
    value: float | bool | str = getattr(outcome, outcome.WhichOneof("value") or "number")
    return value


BECOMES: list[tuple[str, list[int], str, Any, str, Any]] = [
    ("a number of numbers", [0, 1], "", 1, "p", 1.0),
    ("a flag of numbers", [0, 1], "", True, "p", 1.0),
    ("text that reads as a number", [1, 0], "", "0.5", "p", 0.5),
    ("text that is a flag", [0, 1], "", "TRUE", "p", 1.0),
    ("text of labels", [0, 1], "", "bad", "label", "bad"),
    ("numerals where there are only labels", [1], "", "007", "label", "007"),
    ("a number where there are only labels", [1], "", 3.0, "label", "3"),
    ("a fraction where there are only labels", [1], "", 0.25, "label", "0.25"),
    ("a huge number as a label", [1], "", 1e300, "label", "1e+300"),
    ("a flag where there are only labels", [1], "", False, "label", "false"),
    ("a number of labels, said so", [0, 1], "label", 1, "label", "1"),
    ("no whole number passes over integers", [2, 0], "", 0.5, "p", 0.5),
    ("a whole number is taken by the first", [2, 0], "", 4.0, "count", 4.0),
    ("a flag goes to flags first", [0, 3], "", True, "fraud", True),
    ("1 of flags", [3, 1], "", 1, "fraud", True),
    ("2 is no flag", [3, 0], "", 2, "p", 2.0),
    ("a vector takes what nothing else does", [4], "", "good", "classes", "good"),
    ("a vector, said so", [0, 4], "classes", 2, "classes", 2.0),
]


@pytest.mark.parametrize(
    ("columns", "output", "value", "expected_output", "expected"),
    [case[1:] for case in BECOMES],
    ids=[case[0] for case in BECOMES],
)
def test_a_truth_gets_the_form_of_its_column(
    columns: list[int], output: str, value: Any, expected_output: str, expected: Any
) -> None:
    """A truth finds its output column, and its value the form that this column asks for."""
    outcome = outcome_of(value, output=output)
    assert OutcomeChecker(endpoint_with([OUTPUTS[index] for index in columns]), NOW_US).complete(outcome) == ""
    found = value_of(outcome)
    assert (outcome.output, found, type(found)) == (expected_output, expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (REWARD, "0.5", 0.5),
        (REWARD, True, 1.0),
        (REWARD, -3, -3.0),
        (VERDICT, "too strict", "too strict"),
        (VERDICT, True, True),
        (VERDICT, 4, 4.0),
        (VERDICT, "4", "4"),
    ],
)
def test_rewards_are_numbers_and_verdicts_stay(kind: int, value: Any, expected: Any) -> None:
    """A reward becomes a number; a verdict is kept as it was sent; neither gets an output."""
    outcome = outcome_of(value, kind)
    assert OutcomeChecker(endpoint_with(OUTPUTS), NOW_US).complete(outcome) == ""
    found = value_of(outcome)
    assert (outcome.output, found, type(found)) == ("", expected, type(expected))


WRONG: list[tuple[str, Outcome, str]] = [
    ("no value", outcome_of(None), "there is none"),
    ("NaN", outcome_of(float("nan")), "finite"),
    ("infinity", outcome_of(float("inf"), REWARD), "finite"),
    ("empty text", outcome_of(""), "1 to 4096"),
    ("long text", outcome_of("x" * 4097), "4097 characters"),
    ("no target", Outcome(feedback_id="f", kind=TRUTH, number=1), "a request_id, or a key"),
    ("a bad request id", outcome_of(1, request_id="a b"), "'a b'"),
    ("a bad feedback id", outcome_of(1, feedback_id="a.b"), "feedback_id 'a.b'"),
    ("a key without a name", outcome_of(1, key=BusinessKey(value="x")), "key.name of 0"),
    ("a key without a value", outcome_of(1, key=BusinessKey(name="x")), "key.value of 0"),
    ("a long key", outcome_of(1, key=BusinessKey(name="x", value="y" * 1025)), "1025 characters"),
    ("no kind", outcome_of(1, 0), "truth, reward or verdict"),
    ("a kind of the future", outcome_of(1, 9), "kind 9"),
    ("a row before the first", outcome_of(1, row=-1), "row -1"),
    ("seconds", outcome_of(1, observed_unix_us=NOW_US // 1_000_000), "microseconds"),
    ("milliseconds", outcome_of(1, observed_unix_us=NOW_US // 1000), "microseconds"),
    ("nanoseconds", outcome_of(1, observed_unix_us=NOW_US * 1000), "microseconds"),
    ("the day after tomorrow", outcome_of(1, observed_unix_us=NOW_US + AHEAD_US + 1), "one day"),
    ("a long source", outcome_of(1, source="x" * 129), "129 characters"),
    ("an unknown output", outcome_of(1, output="lable"), "did you mean 'label'?"),
    ("an unknown output of a verdict", outcome_of(1, VERDICT, output="xyz"), "there are p, label"),
    ("text for a number", outcome_of("bad", output="p"), "'p' is FP64: send a number"),
    ("text that is nearly a number", outcome_of("1e999", output="p"), "send a number"),
    ("a fraction for a whole number", outcome_of(0.5, output="count"), "whole number"),
    ("2 for a flag", outcome_of(2, output="fraud"), "true, false, 1 or 0"),
    ("text for a reward", outcome_of("good", REWARD), "a reward is a number"),
]


@pytest.mark.parametrize(("outcome", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_outcomes_are_told(outcome: Outcome, words: str) -> None:
    """Each mistake is told in words that say what was expected."""
    sent = Outcome()
    sent.CopyFrom(outcome)
    assert words in OutcomeChecker(endpoint_with(OUTPUTS[:4]), NOW_US).complete(sent)


def test_what_is_left_out_is_filled_in() -> None:
    """Without a time the router's own counts; a time that is given stays, back to 1980 and a day ahead."""
    checker = OutcomeChecker(endpoint_with(OUTPUTS), NOW_US)
    for number, (sent, kept) in enumerate([(0, NOW_US), (NOW_US + AHEAD_US, NOW_US + AHEAD_US), (NOW_US // 3, None)]):
        outcome = outcome_of(1, feedback_id=f"f{number}", observed_unix_us=sent)
        assert checker.complete(outcome) == ""
        assert outcome.observed_unix_us == (kept or sent)


def test_an_id_stands_once_in_a_call() -> None:
    """The second outcome of a call with one id is wrong: only the first would ever count."""
    checker = OutcomeChecker(endpoint_with(OUTPUTS), NOW_US)
    assert checker.complete(outcome_of(1)) == ""
    assert "there twice" in checker.complete(outcome_of(1))


def test_a_refusal_counts_all_and_names_the_first() -> None:
    """Of many wrong outcomes the error has the number, and ten by their place."""
    error = refusal_of([(index, f"reason {index}") for index in range(2, 200)], 300)
    assert "198 of 300" in error.message
    assert "outcomes[2]: reason 2" in error.message
    assert error.attributes["wrong"] == "198"
    assert [name for name in error.attributes if name.startswith("outcome.")] == [f"outcome.{i}" for i in range(2, 12)]
    assert len(error.to_proto().attributes) == 11, "nothing of it is cut on the way"


def test_how_many() -> None:
    """A call has 1 to 10,000 outcomes."""
    check_count(MOST_OUTCOMES)
    with pytest.raises(InvalidRequestError):
        check_count(0)
    with pytest.raises(TooLargeError, match="10001"):
        check_count(MOST_OUTCOMES + 1)


def packed(outcomes: list[Outcome], now_us: int = NOW_US) -> list[v1.FeedbackBatch]:
    """Returns the messages that a call makes."""
    endpoint, kept = endpoint_with(OUTPUTS), []
    checker = OutcomeChecker(endpoint, now_us)
    for outcome in outcomes:
        sent = Outcome()
        sent.CopyFrom(outcome)
        digest = digest_of(sent)
        assert checker.complete(sent) == ""
        kept.append(Kept(sent, sent.ByteSize(), digest))
    return list(pack(endpoint, kept, router="r1", now_us=now_us))


def test_a_repeated_call_makes_the_same_messages() -> None:
    """Messages are small and hold all outcomes in order; sent again they have the same ids, other content others."""
    outcomes = [outcome_of("x" * 2000, feedback_id=f"f{number}", output="label") for number in range(200)]
    first, again = packed(outcomes), packed(outcomes, NOW_US + 5_000_000)
    assert len(first) == 7
    assert max(batch.ByteSize() for batch in first) < MESSAGE_BYTES * 1.1
    assert [each.feedback_id for batch in first for each in batch.outcomes] == [f"f{number}" for number in range(200)]
    assert [batch.batch_id for batch in first] == [batch.batch_id for batch in again]
    outcomes[150].text = "y" * 2000
    changed = [batch.batch_id for batch in packed(outcomes)]
    assert sum(a.batch_id != b for a, b in zip(first, changed, strict=True)) == 1
    assert OutcomeKind.Name(first[0].outcomes[0].kind) == "OUTCOME_KIND_TRUTH"
    assert first[0].spec_revision == 7
