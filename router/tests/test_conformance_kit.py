"""The kit's own parts: targets, choice of cases, known failures, reports; without any server."""

import inspect
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from junitparser import JUnitXml
from rendezvous_proto import v1
from rendezvous_proto.postbox import MODELS_BUCKET, model_key
from rendezvous_router.cli import app
from rendezvous_router.conformance import (
    CASES,
    KnownFailuresError,
    Report,
    Result,
    SiteError,
    SiteOptions,
    Status,
    Target,
    TargetError,
    load_known_failures,
    parse_target,
)
from rendezvous_router.conformance.frames import InputMaker, difference, make_column
from rendezvous_router.conformance.report import result_table, summary, write_junit
from rendezvous_router.conformance.runner import choose_cases
from rendezvous_router.conformance.site import Site
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk.nats_connection import connect
from typer.testing import CliRunner

FP64 = v1.ColumnSpec(name="x", type=v1.DataType.DATA_TYPE_FP64)


class _Described(v1.ScoreServicer):
    def Describe(self, request: Any, context: Any) -> v1.ModelInfo:  # noqa: N802 - gRPC
        return v1.ModelInfo(name="m", version="1")


def result(case_id: str, status: Status) -> Result:
    """A result."""
    return Result(id=case_id, title="holds", group="G", rules=("P1",), status=status, seconds=0.5, detail="word")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grpc://127.0.0.1:8001", Target(address="127.0.0.1:8001")),
        ("grpc://[::1]:8001", Target(address="[::1]:8001")),
        ("credit/tree", Target(endpoint="credit", model="tree")),
        ("credit/tree:1.2", Target(endpoint="credit", model="tree", version="1.2")),
    ],
)
def test_targets(text: str, expected: Target) -> None:
    """Addresses and models are told apart, and written again as they were."""
    assert parse_target(text) == expected
    assert str(parse_target(text)) == text


@pytest.mark.parametrize("text", ["", "credit", "grpc://8001", "grpc://host:port", "a b/c", "credit/", "credit/m:1 2"])
def test_what_is_no_target(text: str) -> None:
    """The error shows the text and how a target is written."""
    with pytest.raises(TargetError, match="grpc://"):
        parse_target(text)


def test_every_case_is_described() -> None:
    """Each has a title, a rule of the protocol and a check with a docstring; none is longer than 40 lines."""
    for case in CASES.values():
        assert case.title
        assert case.rules
        assert case.check.__doc__
        assert len(inspect.getsource(case.check).splitlines()) <= 40
    assert len(CASES) > 100


@pytest.mark.parametrize(
    ("only", "count"), [(["grpc.describe"], 1), (["grpc.echo-int*"], 4), (["grpc", "grpc.describe"], None)]
)
def test_choice_of_cases(only: list[str], count: int | None) -> None:
    """By id, pattern and door."""
    chosen = choose_cases(only)
    assert len(chosen) == (count or sum(case_id.startswith("grpc.") for case_id in CASES))


def test_a_choice_that_matches_nothing_is_an_error() -> None:
    """It is named."""
    with pytest.raises(ValueError, match=r"grpc\.nonsense"):
        choose_cases(["grpc.nonsense"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# one\ngrpc.echo-nil: why", "line 2: there is no case 'grpc.echo-nil'; the nearest is 'grpc.echo-nul'"),
        ("grpc.score: why\n: : :\n", "line 2, column 1: this is no YAML"),
        ("grpc.score:", "has no reason"),
        ("[grpc.score]", "one line for each case"),
        ("a: b: c", "mapping values"),
    ],
)
def test_known_failures_are_checked(tmp_path: Path, text: str, message: str) -> None:
    """Cases that do not exist, and reasons that are not given, are errors that name the file."""
    path = tmp_path / "known.yaml"
    path.write_text(text)
    with pytest.raises(KnownFailuresError, match=message) as caught:
        load_known_failures(path)
    assert str(path) in str(caught.value)


def test_known_failures_are_read(tmp_path: Path) -> None:
    """Reasons by case; an empty file has none."""
    path = tmp_path / "known.yaml"
    path.write_text("# none yet\n")
    assert load_known_failures(path) == {}
    path.write_text("grpc.score: it is not ready\n")
    assert load_known_failures(path) == {"grpc.score": "it is not ready"}


@pytest.mark.parametrize(
    ("status", "is_good"),
    [
        (Status.PASSED, True),
        (Status.KNOWN_FAILURE, True),
        (Status.NOT_APPLICABLE, True),
        (Status.FAILED, False),
        (Status.NOW_PASSES, False),
    ],
)
def test_reports(tmp_path: Path, status: Status, is_good: bool) -> None:
    """What fails the run is a failure in JUnit; what is expected not to pass is skipped; the rest is plain."""
    report = Report(target="e/m", model={"name": "m"}, results=[result("grpc.score", status)])
    assert report.is_good is is_good
    assert report.to_dict()["good"] is is_good
    assert json.loads(json.dumps(report.to_dict()))["results"][0]["status"] == status
    assert f"1 {status}" in summary(report)
    assert result_table(report).row_count == 2
    write_junit(report, tmp_path / "junit.xml")
    suite = next(iter(JUnitXml.fromfile(str(tmp_path / "junit.xml"))))
    assert (suite.tests, suite.failures) == (1, 0 if is_good else 1)
    assert suite.skipped == (status in (Status.KNOWN_FAILURE, Status.NOT_APPLICABLE))


def test_wrong_usage_ends_with_two(tmp_path: Path) -> None:
    """No target, no such target, no such case, no such file, no such list."""
    runs = [
        [],
        ["nonsense"],
        ["grpc://127.0.0.1:1", "--only", "grpc.nonsense"],
        ["grpc://127.0.0.1:1", "--known-failures", str(tmp_path / "none.yaml")],
        ["grpc://127.0.0.1:1", "--example", str(tmp_path / "none.json")],
        ["grpc://127.0.0.1:1", "--junit", str(tmp_path / "none" / "junit.xml")],
        ["grpc://127.0.0.1:1", "--junit", str(tmp_path)],
        ["e/m", "--run", "bash -c 'echo unclosed"],
        ["e/m", "--run", ""],
        ["e/m", "--run", "true", "--start-limit", "soon"],
    ]
    for arguments in runs:
        done = CliRunner().invoke(app, ["conformance", *arguments])
        assert (done.exit_code, done.exception.__class__) == (2, SystemExit)
        assert "error: " in done.stderr


def test_a_level_that_there_is_not_ends_a_bridge_with_two() -> None:
    """From the option and from the environment, and the levels are named."""
    joined = ["bridge", "--endpoint", "e", "--model", "m", "--to", "grpc://127.0.0.1:1"]
    for arguments, environment in ((["--log-level", "LOUD"], {}), ([], {"RENDEZVOUS_LOG_LEVEL": "LOUD"})):
        done = CliRunner().invoke(app, [*joined, *arguments], env=environment)
        assert done.exit_code == 2
        assert "'loud': use one of debug, info, warning, error" in done.stderr


def test_the_help_of_a_bridge_shows_columns_in_brackets() -> None:
    """They are no markup."""
    done = CliRunner().invoke(app, ["bridge", "--help"], env={"COLUMNS": "200"})
    assert "tensor:FP32=[column,column]" in done.stdout
    assert "column=tensor[1]" in done.stdout


@pytest.mark.parametrize(
    ("target", "run", "told"),
    [
        ("grpc://127.0.0.1:1", "/no/such/program", "/no/such/program: No such file"),
        ("grpc://127.0.0.1:1", "false", "'false' ended with status 1; it printed nothing"),
        ("e/m", "true", "'true' ended with status 0; it printed nothing"),
        (
            "e/m",
            "bash -c 'echo one; echo two >&2; exit 3'",
            "output ends with:\none\nits standard error ends with:\ntwo",
        ),
        ("e/m", "bash -c 'echo ready: at last; sleep 60'", "printed 'ready: at last', an ill-formed line of readiness"),
    ],
)
def test_a_program_that_cannot_be_tried_is_noticed_at_once(target: str, run: str, told: str) -> None:
    """One that there is not, one that ends and one that misspells its readiness; its last words are shown."""
    started = time.monotonic()
    done = CliRunner().invoke(app, ["conformance", target, "--run", run])
    assert done.exit_code == 1
    assert told in done.stderr
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("target", ["e/m", "grpc://127.0.0.1:1"])
async def test_a_program_that_never_is_ready_is_named(target: str) -> None:
    """With its last lines, after the time that it has to start."""
    run = "bash -c 'echo garbage; exec sleep 60'"
    with pytest.raises(SiteError, match=r"(?s)echo garbage.* within \d.*ends with:\ngarbage"):
        await Site.open(SiteOptions(target=parse_target(target), run=run, ready_limit_s=1.5))


def test_a_wrong_address_is_named_with_the_cause() -> None:
    """Soon."""
    started = time.monotonic()
    done = CliRunner().invoke(app, ["conformance", "grpc://127.0.0.1:1"])
    assert done.exit_code == 1
    assert "grpc://127.0.0.1:1: connection refused" in done.stderr
    assert time.monotonic() - started < 6


async def test_a_model_that_is_not_registered_is_answered_with_those_that_are(nats_server: NatsServer) -> None:
    """Or with the versions that there are to choose from."""

    async def refusal(target: str) -> str:
        with pytest.raises(SiteError) as caught:
            await Site.open(SiteOptions(target=parse_target(target), nats=nats_server.url))
        return str(caught.value)

    assert "no model is registered there" in await refusal("nope/nope")
    nc = await connect(nats_server.url, name="test", timeout_s=5.0)
    bucket = await nc.jetstream().create_key_value(bucket=MODELS_BUCKET)
    for version in ("1.0", "2"):
        info = v1.ModelInfo(name="tree", version=version)
        await bucket.put(model_key("credit", "tree", version), json_format.MessageToJson(info).encode())
    await nc.close()
    assert "registered are credit/tree:1.0, credit/tree:2" in await refusal("nope/nope")
    assert "in 2 versions: name one, credit/tree:1.0, credit/tree:2" in await refusal("credit/tree")


def test_a_run_in_which_nothing_is_applicable_ends_with_two() -> None:
    """The reason is said."""
    server = grpc.server(ThreadPoolExecutor(1))
    v1.add_ScoreServicer_to_server(_Described(), server)  # type: ignore[no-untyped-call] # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        done = CliRunner().invoke(app, ["conformance", f"grpc://127.0.0.1:{port}", "--only", "postbox"])
    finally:
        server.stop(None).wait()
    assert done.exit_code == 2
    assert "nothing was tried" in done.stderr
    assert "give endpoint/model to try the postbox" in done.stderr


def test_the_list_of_cases_is_printed() -> None:
    """With id, title and rules."""
    done = CliRunner().invoke(app, ["conformance", "--list", "--only", "grpc.describe"])
    assert done.exit_code == 0
    assert "grpc.describe" in done.stdout


@pytest.mark.parametrize(
    ("kind", "shape", "sent", "got", "told"),
    [
        ("FP64", [], [1.0, 2.0], [1.0, 2.0], ""),
        ("FP64", [], [float("nan"), -0.0], [float("nan"), -0.0], ""),
        ("FP64", [], [0.0], [-0.0], "0.0 in row 0 came back as -0.0"),
        ("FP64", [], [1.0, None], [1.0, float("nan")], "missing rows [1] came back as []"),
        ("INT64", [2], [[1, 2], [3, 4]], [[1, 2], [3, 5]], "4 in row 1 came back as 5"),
        ("STRING", [], ["a", ""], ["a", "b"], "element 1, '', came back as 'b'"),
        ("BYTES", [1], [[b"a"]], [[b"b"]], "element 0"),
    ],
)
def test_differences_are_found(kind: str, shape: list[int], sent: list[object], got: list[object], told: str) -> None:
    """Values, missing rows and the sign of zero; NaN equals NaN."""
    spec = v1.ColumnSpec(name="x", type=f"DATA_TYPE_{kind}", shape=shape)
    found = difference(make_column(spec, sent), make_column(spec, got), len(sent))
    assert told in found
    assert bool(told) == bool(found)


def test_inputs_follow_the_signature() -> None:
    """Declared columns, examples in turn, or a column x where nothing is known."""
    declared = v1.Signature(inputs=[FP64, v1.ColumnSpec(name="s", type=v1.DataType.DATA_TYPE_STRING, shape=[2])])
    table = InputMaker(declared, is_probe=False).table(3, first=5)
    assert [column.name for column in table.columns] == ["x", "s"]
    assert list(table.columns[1].strings) == ["r5", "r5", "r6", "r6", "r7", "r7"]
    bare = InputMaker(v1.Signature(), is_probe=False)
    assert [column.name for column in bare.table(1).columns] == ["x"]
    examples = InputMaker(v1.Signature(), is_probe=False, examples=[{"a": "one", "b": 1}, {"a": "two", "b": 2}])
    assert list(examples.table(3).columns[0].strings) == ["one", "two", "one"]
