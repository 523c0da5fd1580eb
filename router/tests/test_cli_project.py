"""Project and specification files: read, checked, refused with the file, the path and the nearest key."""

import sys
from pathlib import Path
from typing import Any

import pytest
from rendezvous.spec import SpecError
from rendezvous_router._state import RunningState, find_state, remove_state, write_state
from rendezvous_router.project import ProjectError, find_command, load_project, load_spec, parse_project


def test_empty_project_has_the_defaults() -> None:
    """An empty file is a project without endpoints and models, flushed, on the usual ports."""
    project = parse_project(None)
    assert (project.endpoints, project.models, project.durability) == ([], {}, "flushed")
    assert (project.ports.grpc, project.ports.nats, project.router.workers) == (8001, None, 1)


def test_command_lines_are_text_or_lists() -> None:
    """Text is split as a shell does; a list is taken as it is."""
    models = {"a": {"run": "serve 'my file.py' --x 1"}, "b": {"run": ["serve", "my file.py"]}}
    project = parse_project({"models": models})
    assert project.models["a"].arguments == ["serve", "my file.py", "--x", "1"]
    assert project.models["b"].arguments == ["serve", "my file.py"]


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({"endpoint": []}, "endpoint", "did you mean 'endpoints'?"),
        ({"models": {"a": {"runs": "x"}}}, "models.a.runs", "did you mean 'run'?"),
        ({"models": {"a": {}}}, "models.a.run", "missing"),
        ({"models": {"a": {"run": ""}}}, "models.a.run", "is empty"),
        ({"models": {"a": {"run": "serve 'x"}}}, "models.a.run", "cannot be split"),
        ({"models": {"a": {"run": "x", "replicas": 0}}}, "models.a.replicas", "at least 1"),
        ({"ports": {"grpc": 70000}}, "ports.grpc", "between 0 and 65535"),
        ({"ports": {"nats": "4222"}}, "ports.nats", "expected a whole number"),
        ({"router": {"workers": 0}}, "router.workers", "at least 1"),
        ({"durability": "flush"}, "durability", "did you mean 'flushed'?"),
        ([1], "", "expected a mapping"),
    ],
)
def test_faults_are_named_by_their_path(document: Any, path: str, message: str) -> None:
    """Each fault names its path, the value and what is allowed or near."""
    with pytest.raises(SpecError) as caught:
        parse_project(document)
    assert caught.value.path == path
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"endpoints: [a", "line 1, column 14: is not YAML"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"modles: {}", "modles: unknown key, did you mean 'models'?"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A message about a file begins with the file's name."""
    path = tmp_path / "rendezvous.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProjectError) as caught:
        load_project(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_specification_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    """A specification file must hold a mapping."""
    path = tmp_path / "credit.yaml"
    path.write_text("- 1")
    with pytest.raises(ProjectError, match="expected an endpoint specification, found list"):
        load_spec(path)


def test_programs_are_found_beside_this_python() -> None:
    """Our own programs are found without a PATH; python is this Python; unknown ones are refused."""
    beside = Path(sys.executable)
    assert find_command(["rendezvous-model", "serve"]) == [str(beside.with_name("rendezvous-model")), "serve"]
    assert find_command(["python", "-V"]) == [sys.executable, "-V"]
    assert find_command([sys.executable, "-V"]) == [sys.executable, "-V"]
    with pytest.raises(ProjectError, match="program 'no-such-program' is neither beside"):
        find_command(["no-such-program"])


def test_state_of_a_running_project_is_found_from_below(tmp_path: Path) -> None:
    """A running project is found in its folder and below; not after its end, nor when its process is gone."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    state = RunningState(nats="nats://x:1", grpc="x:2", archive="a", pid=1)
    write_state(tmp_path, state)
    assert find_state(deep) == state
    write_state(tmp_path, RunningState(nats="nats://x:1", grpc="x:2", archive="a", pid=2**22 + 7))
    assert find_state(deep) is None
    remove_state(tmp_path)
    remove_state(tmp_path)
    assert find_state(tmp_path) is None
