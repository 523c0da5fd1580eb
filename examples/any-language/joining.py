"""Which languages can be run here, and how each joins the endpoint."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rendezvous_router.nats_server import find_free_port

from examples.credit.stack import Stack
from toolchains.building import is_built
from toolchains.languages import LANGUAGES, R_LIBRARY
from toolchains.tools import find_gaps, how_to_get

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENDPOINT = "scorecard"
REFERENCE = "python"
"""Language with whose answers the others are compared."""
BARE = ("go", "node", "cpp", "rust")
"""Languages whose programs speak gRPC only, and join by the bridge."""
TITLES: Mapping[str, str] = {REFERENCE: "Python"} | {name: language.title for name, language in LANGUAGES.items()}
COMMANDS: Mapping[str, str] = yaml.safe_load((HERE / "languages.yaml").read_text())


def find_built() -> tuple[list[str], dict[str, str]]:
    """Returns the languages that can be run here, and for each of the others what is missing and how to get it."""
    built, left_out = [REFERENCE], {}
    for name in COMMANDS:
        if name == REFERENCE:
            continue
        language = LANGUAGES[name]
        if gaps := find_gaps(language):
            left_out[name] = f"{'; '.join(gaps)}. {how_to_get(language)}"
        elif not is_built(language):
            left_out[name] = f"it is not built: make languages LANGUAGES={name}"
        else:
            built.append(name)
    return built, left_out


class PolyglotStack(Stack):
    """nats-server, router, archive and one model for each language; a context manager."""

    def __init__(self, languages: Sequence[str]) -> None:
        super().__init__()
        self.project: dict[str, Any] = {
            "endpoints": [str(HERE / "scorecard.yaml")],
            "models": {name: _model_run(name) for name in languages},
        }


def _model_run(name: str) -> dict[str, Any]:
    env = {"RENDEZVOUS_ENDPOINT": ENDPOINT, "RENDEZVOUS_MODEL": name, "RENDEZVOUS_VERSION": "1"}
    if name == "r":
        env["R_LIBS"] = str(R_LIBRARY)
    command = COMMANDS[name]
    if name == REFERENCE:
        command = shlex.join([sys.executable, *shlex.split(command)[1:]])
    here = f"cd {shlex.quote(str(ROOT))}"
    if name not in BARE:
        return {"run": _shell(f"{here} && exec {command}"), "env": env}
    env["RENDEZVOUS_GRPC_PORT"] = port = str(find_free_port())
    # Both in one process group: whoever ends or restarts the bridge ends or restarts the model server with it.
    bridge = [Stack.script("rendezvous"), "bridge", "--endpoint", ENDPOINT, "--model", f"{name}:1"]
    bridge += ["--to", f"grpc://127.0.0.1:{port}"]
    return {"run": _shell(f"{here}; {command} & exec {shlex.join(bridge)}"), "env": env}


def _shell(text: str) -> str:
    return shlex.join(["bash", "-c", text])
