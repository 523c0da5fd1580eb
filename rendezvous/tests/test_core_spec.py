"""Specifications: what is taken, what is refused, and with which words."""

import copy
import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from rendezvous.spec import (
    EndpointSpec,
    SpecError,
    parse_duration,
    parse_spec,
    schema_text,
    spec_to_dict,
)

import rendezvous

CREDIT: dict[str, Any] = {
    "endpoint": "credit",
    "inputs": [{"name": "duration_months", "type": "INT64"}, {"name": "purpose", "type": "STRING"}],
    "outputs": [
        {"name": "probability", "type": "FP64"},
        {"name": "label", "type": "STRING"},
        {"name": "points", "type": "INT8", "missing": True},
        {"name": "vector", "type": "FP32", "shape": [2], "nan": True},
        {"name": "blob", "type": "BYTES"},
        {"name": "flag", "type": "BOOL"},
    ],
    "models": {
        "boosted": {"role": "champion"},
        "logit": {"role": "challenger", "weight": 2},
        "tree": {},
        "scorecard": {"role": "canary"},
        "next": {"role": "shadow"},
        "archive": {"role": "decoy"},
    },
    "policy": {
        "deadline": "100ms",
        "steps": [
            {"until": "30ms", "take": "best", "of": ["boosted"]},
            {"until": "80ms", "take": "majority", "on": "label", "of": ["boosted", "logit"], "quorum": 2},
            {"until": "95ms", "take": "first"},
        ],
        "otherwise": {
            "probability": 1,
            "label": "refer",
            "points": None,
            "vector": [0, 1.5],
            "blob": "AAE=",
            "flag": False,
        },
    },
    "enrichers": {
        "history": {
            "outputs": [{"name": "loans", "type": "INT64"}, {"name": "worst", "type": "FP32", "missing": True}],
            "budget": "20ms",
            "otherwise": {"loans": 0, "worst": None},
        },
        "bureau": {
            "outputs": [{"name": "rating", "type": "STRING"}],
            "budget": "30ms",
            "otherwise": "error",
            "stage": 2,
            "inputs": ["purpose", "loans"],
        },
    },
    "limits": {"max_rows": 100},
    "postbox": {"max_age": "30d"},
}
REMOVED = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The credit specification with one place changed; `REMOVED` removes it."""
    document = copy.deepcopy(CREDIT)
    if not path:
        return value  # type: ignore[no-any-return]
    *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    place: Any = document
    for key in parents:
        place = place[key]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return document


def test_specification_survives_a_round_trip() -> None:
    """A parsed specification becomes a document that parses to the same, also through JSON."""
    spec = parse_spec(CREDIT)
    document = spec_to_dict(spec)
    assert parse_spec(json.loads(json.dumps(document))) == spec
    assert document["policy"] == CREDIT["policy"]
    assert spec.eligible_models() == ["boosted", "logit", "tree"]
    assert (spec.policy.deadline_s, spec.postbox.max_age_s) == (0.1, 2592000.0)
    assert [step.until_s for step in spec.policy.steps] == [0.03, 0.08, 0.095]


def test_models_see_the_columns_of_the_stages_in_their_order() -> None:
    """What models see are the clients' columns, then those of the enrichers, stage by stage."""
    document = changed("enrichers/history/stage", 2)
    document["enrichers"]["bureau"] |= {"stage": 1, "inputs": ["purpose"]}
    for spec, stages, names in (
        (parse_spec(CREDIT), [["history"], ["bureau"]], ["loans", "worst", "rating"]),
        (parse_spec(document), [["bureau"], ["history"]], ["rating", "loans", "worst"]),
    ):
        assert [list(stage) for stage in spec.enrichment_stages()] == stages
        assert [column.name for column in spec.model_inputs()] == ["duration_months", "purpose", *names]


def test_defaults_fill_what_is_not_said() -> None:
    """The smallest specification takes the best model and answers an error otherwise."""
    spec = parse_spec(
        {
            "endpoint": "e",
            "inputs": [],
            "outputs": [{"name": "p", "type": "FP64"}],
            "models": {"m": {}},
            "policy": {"deadline": "1s"},
        }
    )
    assert [step.take for step in spec.policy.steps] == ["best"]
    assert spec.policy.otherwise == "error"
    assert (spec.limits.max_rows, spec.limits.max_bytes, spec.limits.max_in_flight) == (10_000, 921_600, 4096)
    assert (spec.postbox.replicas, spec.models["m"].role) == (1, "challenger")


def step(**fields: Any) -> list[dict[str, Any]]:
    """A policy of one step."""
    return [fields]


S, ELSE, E = "policy/steps", "policy/otherwise", "enrichers"
BARE = {"outputs": [{"name": "new", "type": "BOOL"}], "budget": "1ms", "otherwise": "error"}
BAD: list[tuple[str, Any, str]] = [
    ("", [], "spec: expected a mapping, found []"),
    ("endpiont", "x", "endpiont: unknown key, did you mean 'endpoint'?"),
    ("endpoint", REMOVED, "endpoint: missing; it has no default"),
    ("endpoint", 5, "endpoint: expected text, found 5"),
    ("endpoint", "a b", "endpoint: endpoint name 'a b' is not 1 to 64 of A-Z a-z 0-9 _ -"),
    ("endpoint", "a\n", "endpoint: endpoint name 'a\\n' is not 1 to 64 of A-Z a-z 0-9 _ -"),
    ("endpoint", "x" * 65, "is not 1 to 64 of"),
    ("description", 1, "description: expected text, found 1"),
    ("inputs", REMOVED, "inputs: missing"),
    ("inputs", "x", "inputs: expected a list of"),
    ("inputs/0", 3, "inputs[0]: expected a mapping, found 3"),
    ("inputs/0/name", "", "inputs[0].name: empty; a column needs a name"),
    ("inputs/1/name", "duration_months", "inputs[1].name: duplicate column 'duration_months'; inputs[0] has"),
    ("inputs/0/type", "INT46", "inputs[0].type: unknown value 'INT46', did you mean 'INT64'?"),
    ("inputs/0/type", 64, "inputs[0].type: expected 'BOOL' or"),
    ("inputs/0/shape", [2, 0], "inputs[0].shape[1]: 0 is less than 1"),
    ("inputs/0/shape", 3, "inputs[0].shape: expected a list of a whole number, found 3"),
    ("inputs/0/missing", "yes", "inputs[0].missing: expected true or false, found 'yes'"),
    ("inputs/0/nan", True, "inputs[0].nan: only FP16, FP32 and FP64 have NaN, INT64 has not"),
    ("inputs/0/description", [], "inputs[0].description: expected text, found []"),
    ("inputs/0/typ", "INT8", "inputs[0].typ: unknown key, did you mean 'type'?"),
    ("outputs", [], "outputs: empty; declare at least one output column"),
    ("outputs/1/name", "probability", "outputs[1].name: duplicate column 'probability'"),
    ("models", {}, "models: no model that scores"),
    ("models", {"archive": {"role": "decoy"}}, "models: no model that scores; name at least one that is not a decoy"),
    ("models", [], "models: expected a mapping, found []"),
    ("models", {True: {}}, "models: key True is not text; put it in quotes"),
    ("models/a.b", {}, "models.a.b: model name 'a.b' is not"),
    ("models/tree/role", "champoin", "models.tree.role: unknown value 'champoin', did you mean 'champion'?"),
    ("models/tree/role", "champion", "models.tree.role: second champion beside 'boosted'; at most one"),
    ("models/tree/weight", 0, "models.tree.weight: 0 is not above 0 and finite"),
    ("models/tree/weight", float("inf"), "models.tree.weight: inf is not above 0 and finite"),
    ("models/tree/weight", "2", "models.tree.weight: expected a number, found '2'"),
    ("models/tree/wieght", 2, "models.tree.wieght: unknown key, did you mean 'weight'?"),
    ("policy", REMOVED, "policy: missing"),
    ("policy/deadline", REMOVED, "policy.deadline: missing"),
    ("policy/deadline", 100, "policy.deadline: expected text, found 100; a duration needs its unit: '100ms'"),
    ("policy/deadline", "soon", "policy.deadline: 'soon' is not a duration; write a number and a unit"),
    ("policy/deadline", "0ms", "policy.deadline: 0ms is not above 0s"),
    ("policy/deadline", "-1s", "policy.deadline: '-1s' is not a duration"),
    ("policy/deadline", "61s", "policy.deadline: 61s is more than the limit of 60s"),
    (S, [], "policy.steps: empty; give at least one step"),
    (f"{S}/1/untill", "80ms", "policy.steps[1].untill: unknown key, did you mean 'until'?"),
    (f"{E}/boosted", BARE, "enrichers.boosted: 'boosted' is a model of the endpoint too"),
    (f"{E}/a.b", BARE, "enrichers.a.b: enricher name 'a.b' is not 1 to 64"),
    (f"{E}/history/outputs", [], "enrichers.history.outputs: empty; declare at least one"),
    (f"{E}/history/outputs/0/name", "purpose", "outputs[0].name: column 'purpose' is in inputs already"),
    (f"{E}/bureau/outputs/0/name", "loans", "column 'loans' is in enrichers.history.outputs already"),
    (f"{E}/history/outputs/0/name", "worst", "outputs[1].name: duplicate column 'worst'"),
    (f"{E}/history/otherwise/loans", REMOVED, "enrichers.history.otherwise: output column 'loans' has no value"),
    (f"{E}/history/otherwise/loans", None, "otherwise.loans: missing is not allowed in column 'loans'"),
    (f"{E}/history/otherwise/loan", 1, "otherwise.loan: not an output column, did you mean 'loans'?"),
    (f"{E}/history/otherwise", REMOVED, "enrichers.history.otherwise: missing; it has no default"),
    (f"{E}/history/budget", 20, "budget: expected text, found 20; a duration needs its unit: '20ms'"),
    (f"{E}/history/budget", "0ms", "enrichers.history.budget: 0ms is not above 0s"),
    (f"{E}/history/budget", "60ms", "enrichers: their stages may take 90ms together, and policy.deadline is 100ms"),
    (f"{E}/history/stage", 0, "enrichers.history.stage: 0, and no enricher has stage 1; leave no gap"),
    (f"{E}/bureau/stage", 3, "enrichers.bureau.stage: 3, and no enricher has stage 2; leave no gap"),
    (f"{E}/bureau/inputs/1", "loan", "enrichers.bureau.inputs[1]: no column of that name before stage 2, did you mean"),
    (f"{E}/bureau/inputs/1", "rating", "enrichers.bureau.inputs[1]: no column of that name before stage 2"),
    ("inputs", [], "enrichers: the endpoint declares no inputs"),
    (f"{S}/1/until", "soon", "policy.steps[1].until: 'soon' is not a duration"),
    (f"{S}/1/until", "0s", "policy.steps[1].until: 0s is not above 0s"),
    (f"{S}/2/until", "101ms", "policy.steps[2].until: 101ms is after the deadline"),
    (f"{S}/1/until", "20ms", "policy.steps[1].until: 20ms is before the end of the step before it, 30ms"),
    (f"{S}/0/until", REMOVED, "policy.steps[1].until: 80ms is before the end of the step before it, the deadline"),
    (f"{S}/0/take", REMOVED, "policy.steps[0].take: missing"),
    (f"{S}/0/take", "bset", "policy.steps[0].take: unknown rule 'bset', did you mean 'best'?"),
    (f"{S}/0/take", "bandit", "policy.steps[0].take: unknown rule 'bandit'; known: best, first, majority"),
    (f"{S}/0/of", [], "policy.steps[0].of: empty; name at least one model"),
    (f"{S}/0/of", "boosted", "policy.steps[0].of: expected a list of text, found 'boosted'"),
    (f"{S}/0/of", ["bosted"], "policy.steps[0].of[0]: unknown model 'bosted', did you mean 'boosted'?"),
    (f"{S}/0/of", ["tree", "tree"], "policy.steps[0].of[1]: model 'tree' is named twice"),
    (f"{S}/0/of", ["next"], "policy.steps[0].of[0]: model 'next' is a shadow: scored, never served"),
    (f"{S}/0/of", ["archive"], "policy.steps[0].of[0]: model 'archive' is a decoy"),
    (f"{S}/0/quorum", 1, "policy.steps[0].quorum: rule 'best' does not take it; it takes of, take, until"),
    (f"{S}/1/quorum", 3, "policy.steps[1].quorum: 3 is not between 1 and 2"),
    (f"{S}/1/quorum", 0, "policy.steps[1].quorum: 0 is not between 1 and 2"),
    (f"{S}/1/quorum", 1.5, "policy.steps[1].quorum: expected a whole number, found 1.5"),
    (f"{S}/1/on", REMOVED, "policy.steps[1].on: missing; majority needs the output column"),
    (f"{S}/1/on", "lable", "policy.steps[1].on: not an output column: 'lable', did you mean 'label'?"),
    (f"{S}/1/on", ["label", "points"], "policy.steps[1].on: majority votes on one column, not 2"),
    (f"{S}/1/on", "vector", "policy.steps[1].on: column 'vector' has shape [2]; a vote needs a scalar column"),
    (S, step(take="mean", on="label"), "steps[0].on: column 'label' is STRING; mean needs a numeric column"),
    (S, step(take="median", on="flag"), "steps[0].on: column 'flag' is BOOL; median needs a numeric column"),
    (S, step(take="mean", on=[]), "steps[0].on: empty; name at least one output column"),
    (S, step(take="mean", on=["points", "points"]), "steps[0].on[1]: column 'points' is named twice"),
    (S, step(take="weighted", on=["points", "label"]), "steps[0].on[1]: column 'label' is STRING; weighted"),
    (S, step(take="weighted", weights={"lgit": 1}), "weights.lgit: not a model of this step: 'lgit', did you mean"),
    (S, step(take="weighted", weights={"logit": -1}), "steps[0].weights.logit: -1 is not above 0 and finite"),
    (S, step(take="split"), "policy.steps[0].shares: missing; split needs the share of each model"),
    (S, step(take="split", shares={"tree": 0.5, "logit": 0.4}), "steps[0].shares: sum to 0.9, not to 1"),
    (S, step(take="split", shares={"tree": 1.5, "logit": -0.5}), "shares.tree: 1.5 is not between 0 and 1"),
    (S, step(take="split", shares={"oak": 1}), "steps[0].shares.oak: unknown model 'oak'"),
    (S, step(take="split", shares={"next": 1}), "steps[0].shares.next: model 'next' is a shadow"),
    (S, step(take="split", shares={"tree": float("nan")}), "shares.tree: nan is not between 0 and 1"),
    (S, step(take="split", shares={"tree": 1}, by=""), "steps[0].by: empty; name a key of the request's context"),
    (S, step(take="split", shares={"tree": 1}, of=["tree"]), "steps[0].of: rule 'split' does not take it"),
    (S, step(take="first", options={}), "steps[0].options: rule 'first' does not take it"),
    (ELSE, "eror", "policy.otherwise: expected a mapping or 'error', found 'eror'"),
    (f"{ELSE}/labell", "x", "policy.otherwise.labell: not an output column, did you mean 'label'?"),
    (f"{ELSE}/label", REMOVED, "policy.otherwise: output column 'label' has no value; give one, or write 'error'"),
    (f"{ELSE}/label", 3, "policy.otherwise.label: 3 is not STRING, the type of column 'label'"),
    (f"{ELSE}/label", None, "policy.otherwise.label: missing is not allowed in column 'label'"),
    (f"{ELSE}/probability", "1", "policy.otherwise.probability: '1' is not FP64"),
    (f"{ELSE}/probability", float("nan"), "policy.otherwise.probability: nan is not allowed in column 'probability'"),
    (f"{ELSE}/points", 128, "policy.otherwise.points: 128 is outside of INT8, -128 to 127"),
    (f"{ELSE}/points", 1.5, "policy.otherwise.points: 1.5 is not INT8"),
    (f"{ELSE}/points", True, "policy.otherwise.points: True is not INT8"),
    (f"{ELSE}/vector", [1.0], "policy.otherwise.vector: expected a list of 2 for shape [2], found [1.0]"),
    (f"{ELSE}/vector", [1.0, 1e39], "policy.otherwise.vector: 1e+39 is outside of FP32"),
    (f"{ELSE}/blob", "%", "policy.otherwise.blob: '%' is not BYTES, the type of column 'blob'; write base64"),
    (f"{ELSE}/blob", 1, "policy.otherwise.blob: 1 is not BYTES"),
    (f"{ELSE}/flag", 1, "policy.otherwise.flag: 1 is not BOOL"),
    ("limits/max_rows", 0, "limits.max_rows: 0 is less than 1"),
    ("limits/max_bytes", 921_601, "limits.max_bytes: 921601 is more than a parcel holds, 921600"),
    ("limits/max_in_flight", -1, "limits.max_in_flight: -1 is less than 1"),
    ("limits/max_row", 1, "limits.max_row: unknown key, did you mean 'max_rows'?"),
    ("limits/max_rows", "many", "limits.max_rows: expected a whole number, found 'many'"),
    ("postbox/max_age", 1, "postbox.max_age: expected text, found 1; a duration needs its unit: '1ms'"),
    ("postbox/replicas", 6, "postbox.replicas: 6 is not between 1 and 5"),
    ("postbox/max_bytes", 0, "postbox.max_bytes: 0 is neither above 0 nor -1"),
    ("postbox/max_age", "36501d", "postbox.max_age: 36501d is more than the limit of 3.1536e+09s"),
    ("postbox/max_age", "always", "postbox.max_age: 'always' is not a duration"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "expected"), BAD, ids=[f"{i}-{p}" for i, (p, _, _) in enumerate(BAD)])
def test_mistake_is_named_by_path(path: str, value: Any, expected: str) -> None:
    """Each mistake is refused with a line that says where, what and what to do."""
    with pytest.raises(SpecError) as raised:
        parse_spec(changed(path, value))
    assert expected in str(raised.value)
    assert raised.value.problems[0] == (raised.value.path, raised.value.message)


def test_all_mistakes_are_reported_together() -> None:
    """One run names every mistake of a document."""
    document = changed("policy/steps/1/on", "lable")
    document["policy"]["deadline"] = "90s"
    document["limits"]["max_rows"] = 0
    with pytest.raises(SpecError) as raised:
        parse_spec(document)
    paths = [path for path, _ in raised.value.problems]
    assert paths == ["policy.deadline", "policy.steps[1].on", "limits.max_rows"]


def test_bare_on_of_yaml_is_understood() -> None:
    """YAML 1.1 turns the key `on` into true; a step reads it as `on` all the same."""
    document = changed("policy/steps/1/on", REMOVED)
    document["policy"]["steps"][1][True] = "label"
    assert parse_spec(document) == parse_spec(CREDIT)


def test_step_without_eligible_models_is_refused() -> None:
    """Where there is only a canary, a step must name its models."""
    document = changed("models", {"scorecard": {"role": "canary"}})
    document["policy"]["steps"] = [{"take": "first"}]
    with pytest.raises(SpecError, match=r"steps\[0\]\.of: missing, and there is no champion or challenger"):
        parse_spec(document)
    document["policy"]["steps"] = [{"take": "first", "of": ["scorecard"]}]
    assert parse_spec(document).policy.steps[0].of == ["scorecard"]


@pytest.mark.parametrize("take", ["mean", "median"])
def test_mean_without_floating_outputs_needs_a_column(take: str) -> None:
    """Means have no default column where no output is floating."""
    document = changed("outputs", [{"name": "n", "type": "INT64"}])
    document["policy"] |= {"steps": [{"take": take}], "otherwise": "error"}
    with pytest.raises(SpecError, match=rf"on: missing, and no output column is floating; {take} needs"):
        parse_spec(document)
    document["policy"]["steps"] = [{"take": take, "on": "n"}]
    assert isinstance(parse_spec(document), EndpointSpec)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30ms", 0.03), ("1.5s", 1.5), ("2m", 120.0), ("250us", 0.00025), ("1h", 3600.0), ("30d", 2592000.0), ("0s", 0)],
)
def test_duration_is_read(text: str, seconds: float) -> None:
    """A number and a unit become seconds."""
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-15)


@pytest.mark.parametrize("text", ["", "1", "ms", "1 ms", "1e3s", "-1s", "1.s", "1w", "\u0663s", " 1s", "1s\n", "nans"])
def test_malformed_duration_is_refused(text: str) -> None:
    """What is not a number and a unit is no duration."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_json_schema_is_up_to_date() -> None:
    """The committed JSON Schema is what the structs say; `python rendezvous/generate.py` renews it."""
    path = Path(rendezvous.__file__).with_name("endpoint.schema.json")
    assert path.read_text(encoding="utf-8") == schema_text()


def test_json_schema_takes_what_the_parser_takes() -> None:
    """The JSON Schema accepts a valid document and refuses an unknown key."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    assert not list(validator.iter_errors(CREDIT))
    assert not list(validator.iter_errors(spec_to_dict(parse_spec(CREDIT))))
    for path, value in [
        ("endpiont", 1),
        (f"{S}/0/untill", "1s"),
        ("policy/deadline", "soon"),
        ("models/tree/role", "x"),
    ]:
        assert list(validator.iter_errors(changed(path, value))), path


def test_plugin_that_cannot_be_loaded_is_an_error_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in whose module is missing is reported at the step that takes it."""
    points = [EntryPoint("broken", "no_such_module:rule", "rendezvous.policies"),
              EntryPoint("lacking", "json:no_such_rule", "rendezvous.policies")]  # fmt: skip
    monkeypatch.setattr("rendezvous._plugins.entry_points", lambda group: points)
    with pytest.raises(SpecError) as raised:
        parse_spec(changed(S, [{"take": "broken"}, {"take": "lacking"}, {"take": "brokn"}]))
    text = str(raised.value)
    assert "steps[0].take: plug-in 'broken' cannot be loaded: No module named 'no_such_module'" in text
    assert "steps[1].take: plug-in 'lacking' cannot be loaded: json:no_such_rule" in text
    assert "steps[2].take: unknown rule 'brokn', did you mean 'broken'?" in text
