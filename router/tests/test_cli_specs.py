"""The commands on specifications against a real nats-server: output for people and machines, exit codes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rendezvous_router.cli import app
from rendezvous_router.nats_server import NatsServer, find_free_port
from typer.testing import CliRunner, Result

SPEC: dict[str, Any] = {
    "endpoint": "credit",
    "inputs": [{"name": "amount", "type": "FP64"}],
    "outputs": [{"name": "risk", "type": "FP64"}],
    "models": {"boosted": {"role": "champion"}, "card": {"role": "canary"}},
    "policy": {"deadline": "100ms", "steps": [{"take": "best"}], "otherwise": {"risk": 1.0}},
}


class Cli:
    """Runs commands against one server, with one specification file."""

    def __init__(self, server: NatsServer, folder: Path) -> None:
        self.server = server
        self.file = folder / "credit.yaml"
        self.write(SPEC)

    def write(self, spec: dict[str, Any]) -> None:
        """Writes the specification file."""
        self.file.write_text(json.dumps(spec))

    def write_deadline(self, deadline: str) -> None:
        """Writes the specification with another deadline."""
        self.write({**SPEC, "policy": {**SPEC["policy"], "deadline": deadline}})

    def __call__(self, *arguments: str) -> Result:
        """Runs a command."""
        return CliRunner().invoke(app, [*arguments, "--nats", self.server.url])

    def json(self, *arguments: str) -> Any:
        """Runs a command that must succeed, with --json; returns what it printed."""
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def apply(self) -> int:
        """Applies the file; returns the revision."""
        return int(self.json("apply", str(self.file))[0]["revision"])


@pytest.fixture
def cli(nats_server: NatsServer, tmp_path: Path) -> Cli:
    """The command line, with a server and a specification file."""
    return Cli(nats_server, tmp_path)


def test_apply_stores_and_get_prints(cli: Cli) -> None:
    """What is applied is what get prints, as YAML and as JSON."""
    (applied,) = cli.json("apply", str(cli.file))
    assert (applied["endpoint"], applied["state"], applied["revision"]) == ("credit", "stored", 1)
    assert cli.json("get", "credit")["policy"]["deadline"] == "100ms"
    assert json.loads(cli("get", "credit", "-o", "json").stdout)["endpoint"] == "credit"
    assert "deadline: 100ms" in cli("get", "credit").stdout
    assert [(each["endpoint"], each["revision"]) for each in cli.json("get")] == [("credit", 1)]
    assert "boosted, card" in cli("get").stdout


def test_apply_shows_the_difference(cli: Cli) -> None:
    """A change is shown line by line; applying it twice changes nothing the second time."""
    cli.apply()
    cli.write_deadline("90ms")
    result = cli("apply", str(cli.file))
    assert "-  deadline: 100ms" in result.stdout
    assert "+  deadline: 90ms" in result.stdout
    assert "endpoint credit: stored, revision 2 (no router is running" in result.stdout
    assert "unchanged, revision 2" in cli("apply", str(cli.file)).stdout


def test_dry_run_changes_nothing(cli: Cli) -> None:
    """A dry run shows the difference and leaves the old revision in force."""
    cli.apply()
    cli.write_deadline("90ms")
    (result,) = cli.json("apply", str(cli.file), "--dry-run")
    assert (result["state"], "+  deadline: 90ms" in result["diff"]) == ("would change", True)
    assert cli.json("get", "credit")["policy"]["deadline"] == "100ms"


def test_rollback_and_history(cli: Cli) -> None:
    """Going back puts the old content in force as a new revision; history lists all."""
    cli.apply()
    cli.write_deadline("90ms")
    cli.apply()
    assert cli.json("rollback", "credit")["revision"] == 3
    assert cli.json("get", "credit")["policy"]["deadline"] == "100ms"
    assert cli.json("rollback", "credit", "--to", "2")["revision"] == 4
    deadlines = [each["spec"]["policy"]["deadline"] for each in cli.json("history", "credit")]
    assert deadlines == ["100ms", "90ms", "100ms", "90ms"]
    lines = cli("history", "credit").stdout.splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["created", "changed", "changed", "changed"]


def test_delete_and_bring_back(cli: Cli) -> None:
    """A deleted endpoint is not found, and rollback brings it back; purging forgets it."""
    cli.apply()
    assert cli.json("delete", "credit") == {"endpoint": "credit", "deleted": True, "purged": False}
    assert cli("get", "credit").exit_code == 1
    cli.json("rollback", "credit")
    assert cli.json("get", "credit")["endpoint"] == "credit"
    cli.json("delete", "credit", "--purge")
    result = cli("rollback", "credit")
    assert (result.exit_code, "nothing to go back to" in result.stderr) == (1, True)


def test_describe_says_the_policy_in_words(cli: Cli) -> None:
    """Describe has the signature, the models with their roles, and the policy as sentences."""
    cli.apply()
    text = cli("describe", "credit").stdout
    for words in ("amount", "FP64", "champion", "the canary (card)", "the fixed answer risk = 1.0", "routers: none"):
        assert words in text
    document = cli.json("describe", "credit")
    assert [(each["model"], each["role"]) for each in document["models"]] == [
        ("boosted", "champion"),
        ("card", "canary"),
    ]


def test_models_lists_models_without_replicas(cli: Cli) -> None:
    """Models of the specification are listed although none of their replicas lives."""
    cli.apply()
    states = [(each["model"], each["replicas"], each["lag"]) for each in cli.json("models")]
    assert states == [("boosted", [], None), ("card", [], None)]
    assert "champion" in cli("models", "credit").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "nobody"],
        ["describe", "nobody"],
        ["delete", "nobody"],
        ["history", "nobody"],
        ["models", "nobody"],
    ],
)
def test_unknown_endpoint_is_named_with_those_known(cli: Cli, arguments: list[str]) -> None:
    """Every command refuses an endpoint that is not there, naming those that are; nothing on stdout."""
    cli.apply()
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: endpoint 'nobody' is not known; known: credit" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("endpoint: credit\npolicy: {deadlin: 1s}", "policy.deadlin: unknown key, did you mean 'deadline'?"),
        ("a: [", "is not YAML"),
        ("[]", "expected an endpoint specification"),
    ],
)
def test_malformed_specification_is_refused(cli: Cli, content: str, message: str) -> None:
    """A file that is no specification is refused with its name and the fault, before anything is stored."""
    cli.file.write_text(content)
    result = cli("apply", str(cli.file))
    assert result.exit_code == 1
    assert message in result.stderr
    assert cli.json("get") == []


def test_malformed_names_are_refused(cli: Cli) -> None:
    """A name that could not be an endpoint's, or a request's id, is refused by what is allowed."""
    assert "use 1 to 64 of" in cli("get", "no.dots").stderr
    assert "use 1 to 64 of" in cli("explain", "no*stars").stderr


def test_request_that_is_not_kept_is_told(cli: Cli) -> None:
    """Explaining an unknown request says so and why that may be."""
    cli.apply()
    result = cli("explain", "nothing")
    assert (result.exit_code, "no decision on request nothing is kept in any endpoint" in result.stderr) == (1, True)


def test_usage_error_is_status_2(cli: Cli) -> None:
    """A wrong option is a usage error."""
    assert cli("get", "--colour").exit_code == 2


def test_json_is_alone_on_standard_output(cli: Cli) -> None:
    """As a process too, --json prints JSON on standard output and nothing else."""
    command = [sys.executable, "-m", "rendezvous_router.cli", "apply", str(cli.file), "--json"]
    done = subprocess.run([*command, "--nats", cli.server.url], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout)[0]["endpoint"] == "credit"


def test_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Without a server the command says which address it tried, once, and ends with status 1."""
    address = f"nats://127.0.0.1:{find_free_port()}"
    result = CliRunner().invoke(app, ["get", "--nats", address])
    assert result.exit_code == 1
    assert f"no NATS server answered at {address}" in result.stderr.replace("\n", " ")
