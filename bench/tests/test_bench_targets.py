"""Targets, ratios and the plan of the bench; nothing is measured here."""

import io
from pathlib import Path

import msgspec
import pytest
from rendezvous_proto import v1
from rich.console import Console

from bench.cells import ALL_CLIENTS, SYSTEM_NAMES, Cell, plan
from bench.load import Outcome
from bench.payloads import make_reply, make_request
from bench.picture import draw
from bench.report import Report, print_results, print_verdicts, read_report, to_rows, write_report
from bench.systems import grpc_address, make_spec
from bench.targets import (
    HUNG_KEYS,
    TARGETS,
    Measurement,
    best_rows_per_s,
    cost_of_models,
    count_late,
    judge,
    median_ratio,
    throughput_ratio,
)

ONE = Cell("rv1-linear-relaxed", "unary", 64, 1)
FIVE = Cell("rv5-linear-relaxed", "unary", 64, 1)


def make_measurement(
    *,
    per_s: float = 1000.0,
    p50_ms: float = 1.0,
    rows: int = 1,
    late: int = 0,
    model_cpu_s: float = 0.0,
    total_cpu_s: float = 2.0,
    errors: dict[str, int] | None = None,
) -> Measurement:
    """A measurement of one second."""
    outcome = Outcome(
        count=round(per_s),
        seconds=1.0,
        per_s=per_s,
        rows_per_s=per_s * rows,
        p50_ms=p50_ms,
        p90_ms=p50_ms,
        p99_ms=p50_ms,
        max_ms=p50_ms,
        late=late,
        decided_late=0,
        errors=errors or {},
        answers={},
        client_cpu_s=0.1,
    )
    return Measurement(outcome=outcome, model_cpu_s=model_cpu_s, total_cpu_s=total_cpu_s)


def test_throughput_is_compared_with_the_best_of_the_others() -> None:
    """Of several ways to run the other system, its fastest one counts."""
    slow, fast = Cell("slow", "unary", 64, 1), Cell("fast", "unary", 64, 1)
    results = {
        ONE.key: make_measurement(per_s=3000),
        slow.key: make_measurement(per_s=100),
        fast.key: make_measurement(per_s=600),
    }
    assert throughput_ratio(ONE, slow, fast)(results) == 5.0
    with pytest.raises(KeyError):
        throughput_ratio(ONE, FIVE)(results)


def test_median_ratio_is_ours_over_theirs() -> None:
    """Twice their latency gives 2."""
    results = {ONE.key: make_measurement(p50_ms=3.0), FIVE.key: make_measurement(p50_ms=1.5)}
    assert median_ratio(ONE, FIVE)(results) == 2.0


@pytest.mark.parametrize(
    ("after_per_s", "model_cpu_s", "expected"),
    [
        (1000.0, 1.0, 0.0),  # no slower, models as dear as before
        (500.0, 1.5, 0.0),  # half as fast, but each request costs the models 2 ms more: as expected
        (500.0, 0.5, 0.5),  # half as fast, and the models cost no more: all of it is lost
    ],
)
def test_cost_of_models_leaves_out_their_own_time(after_per_s: float, model_cpu_s: float, expected: float) -> None:
    """Only what goes beyond the models' own processor time is charged."""
    results = {
        ONE.key: make_measurement(per_s=1000, model_cpu_s=1.0, total_cpu_s=2.0),
        FIVE.key: make_measurement(per_s=after_per_s, model_cpu_s=model_cpu_s, total_cpu_s=2.0),
    }
    assert cost_of_models(ONE, FIVE)(results) == pytest.approx(expected)


def test_rows_per_second_takes_the_best_thousand_row_cell() -> None:
    """Cells with single rows do not count, however fast."""
    results = {
        Cell("rv1-alone-relaxed", "unary", 1, 1).key: make_measurement(per_s=1e7),
        Cell("rv1-alone-relaxed", "unary", 4, 1000).key: make_measurement(per_s=700, rows=1000),
        Cell("rv1-alone-relaxed", "stream", 4, 1000).key: make_measurement(per_s=900, rows=1000),
    }
    assert best_rows_per_s("rv1-alone-relaxed")(results) == 900_000


def test_unanswered_requests_count_as_late() -> None:
    """A request without an answer is no better than a late one."""
    results = {"x": make_measurement(late=2, errors={"UNAVAILABLE": 3})}
    assert count_late("x")(results) == 5


def test_unmeasured_targets_are_neither_met_nor_missed() -> None:
    """Without results each target says that it was not measured."""
    assert {verdict.is_met for verdict in judge({})} == {None}
    late = {key: make_measurement(late=0) for key in HUNG_KEYS.values()}
    assert [verdict.is_met for verdict in judge(late)].count(True) == 2


def test_full_plan_measures_every_target() -> None:
    """With every planned cell and both hung runs measured, no target is left open."""
    cells = {cell.key: make_measurement(rows=cell.rows) for cell in plan()}
    late = {key: make_measurement() for key in HUNG_KEYS.values()}
    assert len(judge(cells | late)) == len(TARGETS)
    assert None not in {verdict.actual for verdict in judge(cells | late)}


@pytest.mark.parametrize("quick", [True, False])
def test_plan_names_known_systems_once(quick: bool) -> None:
    """Each cell is measured once, on a system that exists; the quick plan is a part of the full one."""
    keys = [cell.key for cell in plan(quick=quick)]
    assert len(keys) == len(set(keys))
    assert {cell.system for cell in plan(quick=quick)} <= set(SYSTEM_NAMES)
    assert set(keys) <= {cell.key for cell in plan()}


def test_plan_shows_pacing_at_every_number_of_clients() -> None:
    """The three-model system is measured at 1, 4, 16, 64 and 256 clients, unary and streaming."""
    cells = {(cell.mode, cell.clients) for cell in plan(only=["rv3-linear-flushed"]) if cell.rows == 1}
    assert cells == {(mode, clients) for mode in ("unary", "stream") for clients in ALL_CLIENTS}


@pytest.mark.parametrize("kind", ["linear", "credit"])
def test_requests_match_the_specification(kind: str) -> None:
    """What is sent has the columns that the measured endpoint declares, and the reply has its outputs."""
    request = v1.ScoreRequest.FromString(make_request(kind, 3))
    spec = make_spec(kind, ["m1", "canary"])
    assert [column.name for column in request.inputs.columns] == [column.name for column in spec.inputs]
    reply = v1.ScoreReply.FromString(make_reply(kind, 3))
    assert [column.name for column in reply.outputs.columns] == [column.name for column in spec.outputs]
    assert spec.models["canary"].role == "canary"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ready: router r1, grpc 127.0.0.1:8001", "127.0.0.1:8001"),
        ("ready: model m1:1 of endpoint e, replica x, grpc 127.0.0.1:5, more", "127.0.0.1:5"),
    ],
)
def test_address_is_read_from_the_ready_line(line: str, expected: str) -> None:
    """Host and port follow the word grpc."""
    assert grpc_address(line) == expected


def test_report_survives_writing_and_reading(tmp_path: Path) -> None:
    """What is written is read back, drawn and printed."""
    results = {cell.key: make_measurement(rows=cell.rows) for cell in plan()}
    verdicts = judge(results)
    report = Report(
        date="2026-01-01T00:00:00+00:00",
        machine={"processor": "any", "cores": "2"},
        seconds_per_cell=1.0,
        results=results,
        targets=to_rows(verdicts),
    )
    path = write_report(report, tmp_path, "r")
    assert msgspec.to_builtins(read_report(path)) == msgspec.to_builtins(report)
    draw(report, tmp_path / "r.png")
    assert (tmp_path / "r.png").stat().st_size > 10_000
    console = Console(file=io.StringIO(), width=150)
    print_results(console, results)
    print_verdicts(console, verdicts)
    printed = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO from above
    assert "rv3-linear-flushed" in printed
    assert "missed" in printed
