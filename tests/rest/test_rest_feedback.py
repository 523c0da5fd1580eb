"""Feedback over REST: every form of body becomes the outcomes that it says; a wrong one is a problem, and not kept."""

import asyncio
import gzip
import json
from typing import Any

import nats
import pytest
import requests
from rendezvous_proto.v1 import Outcome

from tests.support.feedback import outcomes_of
from tests.support.stack import Stack

JSON, CSV = "application/json", "text/csv"
PATH, SUM = "/v1/feedback", "/v1/endpoints/sum/feedback"
ONE: dict[str, Any] = {"request_id": "r-1", "kind": "truth", "value": 1}


def kept(site: Stack) -> list[Outcome]:
    """Returns the outcomes of `sum` that the postbox holds."""

    async def read() -> list[Outcome]:
        client = await nats.connect(site.server.url)
        try:
            return await outcomes_of(client)
        finally:
            await client.close()

    return asyncio.run(read())


def test_bodies_become_outcomes(site: Stack, http: requests.Session) -> None:
    """One outcome, a list, an object around a list and CSV, at both paths; ids come back in their order."""
    before = len(kept(site))
    full = {
        **ONE,
        "row": 2,
        "output": "total",
        "observed_at": "2026-05-01T02:00:00.000001+02:00",
        "source": "collections",
        "feedback_id": "rest-full",
    }
    of_key = {"key": {"name": "customer_id", "value": "C-17"}, "kind": "verdict", "value": True}
    lines = (
        "feedback_id,request_id,key_name,key_value,row,kind,value,observed_at\n"
        "rest-csv-1,r-3,,,0,truth,1.0,2026-05-01T00:00:00Z\n"
        "rest-csv-2,,customer_id,C-18,,verdict,4,\n"
        "rest-csv-3,r-4,,,,reward,0.5,\n"
    )
    answers = [
        http.post(site.rest + SUM, json=full),
        http.post(site.rest + PATH, json={**ONE, "value": "bad", "endpoint": "sum"}),
        http.post(site.rest + SUM, json=[of_key, {**ONE, "kind": "reward", "value": False}]),
        http.post(site.rest + PATH, json={"endpoint": "sum", "outcomes": [{**ONE, "value": "7"}]}),
        http.post(site.rest + SUM, data=lines, headers={"content-type": CSV}),
        http.post(
            site.rest + SUM,
            data=gzip.compress(json.dumps(ONE).encode()),
            headers={"content-type": JSON, "content-encoding": "gzip"},
        ),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.json()["endpoint"] == "sum"
    outcomes = kept(site)[before:]
    assert [each.feedback_id for each in outcomes] == [
        id_ for answer in answers for id_ in answer.json()["feedback_ids"]
    ]
    first = outcomes[0]
    assert (first.feedback_id, first.row, first.output, first.source) == ("rest-full", 2, "total", "collections")
    assert first.observed_unix_us == 1_777_593_600_000_001
    said = [(each.output, getattr(each, each.WhichOneof("value") or "")) for each in outcomes[:8]]
    assert said == [
        ("total", 1.0),
        ("label", "bad"),
        ("", True),
        ("", 0.0),
        ("total", 7.0),
        ("total", 1.0),
        ("", 4.0),
        ("", 0.5),
    ]
    assert outcomes[5].observed_unix_us == 1_777_593_600_000_000
    assert (outcomes[6].key.name, outcomes[6].key.value) == ("customer_id", "C-18")
    assert [each.HasField("row") for each in outcomes[5:8]] == [True, False, False]


WRONG: list[tuple[str, str, str, Any, int, str, str]] = [
    ("no JSON", SUM, JSON, b"{", 400, "INVALID_REQUEST", "is not JSON"),
    ("nothing", SUM, JSON, {}, 400, "INVALID_REQUEST", "missing required field `kind`"),
    ("no outcomes", SUM, JSON, [], 400, "INVALID_REQUEST", "there are none"),
    ("an unknown field", SUM, JSON, {**ONE, "rows": 1}, 400, "INVALID_REQUEST", "unknown field `rows`"),
    ("an unknown kind", SUM, JSON, [ONE, {**ONE, "kind": "fact"}], 400, "INVALID_REQUEST", "$[1].kind"),
    (
        "a key twice",
        SUM,
        JSON,
        b'{"request_id": "a", "kind": "truth", "kind": "truth", "value": 1}',
        400,
        "INVALID_REQUEST",
        "twice",
    ),
    ("a list as a value", SUM, JSON, {**ONE, "value": [1]}, 400, "INVALID_REQUEST", "value"),
    ("a number that is not exact", SUM, JSON, {**ONE, "value": 2**53 + 1}, 400, "INVALID_REQUEST", "as text"),
    ("a row below 0", SUM, JSON, {**ONE, "row": -1}, 400, "INVALID_REQUEST", "row"),
    (
        "a time without a zone",
        SUM,
        JSON,
        {**ONE, "observed_at": "2026-05-01T00:00:00"},
        400,
        "INVALID_REQUEST",
        "timezone",
    ),
    ("two targets", SUM, JSON, {**ONE, "key": {"name": "a", "value": "b"}}, 400, "INVALID_REQUEST", "give one of them"),
    ("no target", SUM, JSON, {"kind": "truth", "value": 1}, 400, "INVALID_REQUEST", "outcomes[0]: target"),
    ("one of two", SUM, JSON, [ONE, {**ONE, "output": "totl"}], 400, "INVALID_REQUEST", "did you mean 'total'?"),
    ("two endpoints", SUM, JSON, {**ONE, "endpoint": "echo"}, 400, "INVALID_REQUEST", "say it once"),
    ("no endpoint of two", PATH, JSON, ONE, 400, "INVALID_REQUEST", "name one"),
    ("an unknown endpoint", "/v1/endpoints/sun/feedback", JSON, ONE, 404, "UNKNOWN_ENDPOINT", "did you mean 'sum'?"),
    ("a query", SUM + "?endpoint=sum", JSON, ONE, 400, "INVALID_REQUEST", "has none"),
    ("Arrow", SUM, "application/vnd.apache.arrow.stream", b"", 415, "INVALID_REQUEST", "text/csv"),
    ("CSV: an unknown column", SUM, CSV, b"request_id,kind,valu\nr,truth,1\n", 400, "INVALID_REQUEST", "'valu'"),
    ("CSV: both targets", SUM, CSV, b"request_id,key_name,kind,value\nr,k,truth,1\n", 400, "INVALID_REQUEST", "either"),
    ("CSV: no kind", SUM, CSV, b"request_id,value\nr,1\n", 400, "INVALID_REQUEST", "kind ''"),
    (
        "CSV: a bad time",
        SUM,
        CSV,
        b"request_id,kind,value,observed_at\nr,truth,1,may\n",
        400,
        "INVALID_REQUEST",
        "observed_at",
    ),
    ("too many", SUM, JSON, [ONE] * 10_001, 413, "TOO_LARGE", "10001"),
    ("too many lines", SUM, CSV, b"request_id,kind,value\n" + b"r,truth,1\n" * 10_001, 413, "TOO_LARGE", "10000"),
]


@pytest.mark.parametrize(
    ("path", "media", "body", "status", "code", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_wrong_bodies_are_problems(
    site: Stack, http: requests.Session, path: str, media: str, body: Any, status: int, code: str, words: str
) -> None:
    """Each mistake is a problem with its code and words that help; nothing of the body is kept."""
    before = len(kept(site))
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = http.post(site.rest + path, data=sent, headers={"content-type": media})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert words in problem["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(kept(site)) == before


def test_a_repeated_call_is_kept_once(site: Stack, http: requests.Session) -> None:
    """A retry with the same ids, by REST again, leaves nothing twice; without ids each call counts."""
    before = len(kept(site))
    body = [{**ONE, "feedback_id": f"again-{number}"} for number in range(3)]
    ids = [http.post(site.rest + SUM, json=body).json()["feedback_ids"] for _ in range(3)]
    assert ids == [[f"again-{number}" for number in range(3)]] * 3
    assert len(kept(site)) == before + 3
    for _ in range(2):
        assert http.post(site.rest + SUM, json=ONE).status_code == 200
    assert len(kept(site)) == before + 5
