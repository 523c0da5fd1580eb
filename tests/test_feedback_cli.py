"""`rendezvous feedback` against a real router: files of every form, loaded twice, with wrong lines; and one by one."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rendezvous_proto.v1 import Outcome
from rendezvous_router.cli import app
from rendezvous_router.nats_server import NatsServer
from typer.testing import CliRunner

from tests.support.feedback import outcomes_of
from tests.support.stack import ENDPOINT, Stack

CSV = """customer,request,row,defaulted,label,closed
C-1,r-1,0,1,bad,2026-05-01
C-2,r-2,,0,007,2026-05-02T10:00:00+02:00
C-3,r-3,0,,good,
C-2,r-2,,0,007,2026-05-02T10:00:00+02:00
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A router with the endpoint `sum`."""
    folder = tmp_path_factory.mktemp("feedback")
    server = NatsServer(store=folder / "nats")
    server.start()
    stack = Stack(folder, server)
    try:
        asyncio.run(stack.apply(ENDPOINT))
        stack.start_router()
        yield stack
    finally:
        stack.stop()
        server.stop()


def kept(site: Stack) -> list[Outcome]:
    """Returns what the postbox holds."""

    async def read() -> list[Outcome]:
        client = await nats.connect(site.server.url)
        try:
            return await outcomes_of(client)
        finally:
            await client.close()

    return asyncio.run(read())


def feedback(site: Stack, *arguments: str, status: int = 0) -> str:
    """Runs a command, and returns what it prints."""
    ended = CliRunner().invoke(app, ["feedback", *arguments, "--address", site.address])
    assert ended.exit_code == status, ended.output
    return ended.output


def loaded(site: Stack, file: Path, *arguments: str, status: int = 0) -> tuple[dict[str, Any], list[Outcome]]:
    """Loads a file; returns the report, and what the postbox holds that it did not hold before."""
    before = len(kept(site))
    output = feedback(site, "load", str(file), "--endpoint", "sum", "--json", *arguments, status=status)
    report, _ = json.JSONDecoder().raw_decode(output[output.index("{") :])
    return report, kept(site)[before:]


OF_REQUESTS = ("--request-id-column", "request", "--value-column", "defaulted", "--observed-at-column", "closed")


def test_a_file_is_loaded_once(site: Stack, tmp_path: Path) -> None:
    """Lines become outcomes, an empty value none, a line there twice one; the file loaded again adds nothing."""
    file = tmp_path / "outcomes.csv"
    file.write_text(CSV)
    report, outcomes = loaded(site, file, *OF_REQUESTS, "--source", "collections")
    assert report == {"accepted": 2, "repeated": 1, "without_value": 1, "refused": [], "complete": True}
    first, second = outcomes
    assert (first.request_id, first.row, first.output, first.number) == ("r-1", 0, "total", 1.0)
    assert first.observed_unix_us == 1_777_593_600_000_000
    assert second.observed_unix_us == 1_777_708_800_000_000
    assert first.HasField("row")
    assert not second.HasField("row")
    assert {outcome.source for outcome in outcomes} == {"collections"}
    again, added = loaded(site, file, *OF_REQUESTS, "--source", "collections")
    assert (again["accepted"], added) == (2, [])
    other, in_other_calls = loaded(site, file, *OF_REQUESTS, "--source", "collections", "--batch", "1")
    assert other["accepted"] == 2
    assert {outcome.feedback_id for outcome in in_other_calls} <= {first.feedback_id, second.feedback_id}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_forms_and_business_keys(site: Stack, tmp_path: Path, form: str) -> None:
    """CSV, JSON lines and Parquet say the same, by the business's key; numerals that are labels stay as they are."""
    rows = [{"customer": f"C-{form}-{number}", "label": "007"} for number in range(3)]
    file = tmp_path / f"outcomes.{form}"
    if form == "csv":
        file.write_text("customer,label\n" + "".join(f"{row['customer']},{row['label']}\n" for row in rows))
    elif form == "jsonl":
        file.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    of_customers = ("--key", "customer_id=customer", "--value-column", "label", "--output", "label")
    report, outcomes = loaded(site, file, *of_customers, "--batch", "2")
    assert report["accepted"] == 3
    said = [(outcome.key.name, outcome.key.value, outcome.text) for outcome in outcomes]
    assert said == [("customer_id", row["customer"], "007") for row in rows]


def test_wrong_lines_are_told_by_number_and_the_others_kept(site: Stack, tmp_path: Path) -> None:
    """What the router or the file's own form refuses is named with its line; the rest is kept; the end is status 1."""
    lines = [f"w-{number},{number}" for number in range(30)]
    lines[3], lines[4], lines[20] = "w-3,many", "a b,4", ",5"
    file = tmp_path / "outcomes.csv"
    file.write_text("request_id,value\n" + "\n".join(lines) + "\n")
    report, outcomes = loaded(site, file, "--output", "total", "--batch", "10", status=1)
    assert (report["accepted"], report["complete"]) == (27, True)
    assert sorted(each["line"] for each in report["refused"]) == [5, 6, 22]
    reasons = {each["line"]: each["reason"] for each in report["refused"]}
    assert "'many'" in reasons[5]
    assert "'a b'" in reasons[6]
    assert "empty" in reasons[22]
    assert len(outcomes) == 27
    text = feedback(site, "load", str(file), "--output", "total", status=1)
    assert "27 outcomes kept" in text
    assert "line 5: " in text
    few, none = loaded(site, file, "--output", "lable", "--most-refused", "10", status=1)
    assert (few["accepted"], few["complete"], none) == (0, False, [])
    assert len(few["refused"]) <= 21


def test_mistakes_about_the_file(site: Stack, tmp_path: Path) -> None:
    """A column that is not there, a file that is not there and a malformed option are told before anything is sent."""
    file = tmp_path / "outcomes.csv"
    file.write_text(CSV)
    before = len(kept(site))
    assert "columns missing: request_id" in feedback(
        site, "load", str(file), "--value-column", "defaulted", status=1
    ).replace("\n", " ")
    assert "cannot be read" in feedback(site, "load", str(tmp_path / "none.csv"), status=1).replace("\n", " ")
    for text, told in (
        ("request_id,value,value\nq-1,1,2\n", "more than once: value"),
        ("\ufeffrequest_id;value\nq-1;1,5\n", "separated by ';'"),
        ("request_id\nq-1\n", "columns missing: value"),
    ):
        wrong = tmp_path / "wrong.csv"
        wrong.write_text(text, encoding="utf-8")
        assert told in feedback(site, "load", str(wrong), status=1).replace("\n", " ")
    feedback(site, "load", str(file), "--key", "customer", status=2)
    assert len(kept(site)) == before


def test_one_by_one(site: Stack) -> None:
    """Truth, reward and verdict, of a request or a key; an id of one's own counts once."""
    before = len(kept(site))
    printed = feedback(site, "record", "r-9", "--truth", "1", "--row", "0", "--feedback-id", "mine")
    assert printed.strip() == "mine"
    feedback(site, "record", "r-9", "--truth", "1", "--row", "0", "--feedback-id", "mine")
    document = json.loads(feedback(site, "record", "--key", "customer_id=C-9", "--verdict", "too strict", "--json"))
    feedback(site, "record", "r-9", "--reward", "-0.5", "--observed-at", "2026-05-01", "--source", "me")
    added = kept(site)[before:]
    assert [outcome.feedback_id for outcome in added][:2] == ["mine", *document["feedback_ids"]]
    assert [outcome.WhichOneof("value") for outcome in added] == ["number", "text", "number"]
    assert added[2].observed_unix_us == 1_777_593_600_000_000
    feedback(site, "record", "r-9", status=2)
    feedback(site, "record", "--truth", "1", status=2)
    feedback(site, "record", "r-9", "--truth", "1", "--reward", "1", status=2)
    assert "'bad id'" in feedback(site, "record", "bad id", "--truth", "1", status=1)
