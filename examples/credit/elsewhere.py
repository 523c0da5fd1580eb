"""The models of this endpoint that are trained and served in other languages, and their stand-ins in Python.

Where a language is not built, its model is trained and served by Python under the same name: the endpoint keeps its
four models, and whoever starts it is told what was left out and how to get it.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from examples.credit.applicants import Applicants
from examples.credit.estimators import FOLDER
from toolchains.building import is_built
from toolchains.languages import LANGUAGES
from toolchains.tools import how_to_get

HERE = Path(__file__).parent
PROJECT = HERE / "rendezvous.yaml"
TRAINING_CSV = "training.csv"
"""What the others are trained on: the input columns and `outcome`, good or bad."""
_TRAIN_TIMEOUT_S = 120.0


class TrainingError(RuntimeError):
    """A model could not be trained; the message says what its program printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A model in another language."""

    language: str
    """Name of the language among the toolchains."""
    train: tuple[str, ...]
    """Command that trains it, run in this folder."""
    stand_in: str
    """Command that serves the Python model of the same name."""


ELSEWHERE: Mapping[str, Elsewhere] = {
    "logit": Elsewhere(
        language="r",
        train=("Rscript", "logit.R", "train"),
        stand_in="rendezvous-model serve examples.credit.logit:Logit --endpoint credit --name logit",
    ),
    "forest": Elsewhere(
        language="java",
        train=("bash", "java/forest.sh", "train"),
        stand_in="rendezvous-model serve examples.credit.forest:Forest --endpoint credit --name forest",
    ),
}


def models_elsewhere() -> list[str]:
    """Returns the models whose language is built here."""
    return [name for name, each in ELSEWHERE.items() if is_built(LANGUAGES[each.language])]


def describe_left_out() -> list[str]:
    """Returns a line for each model that Python stands in for: why, and how to change it."""
    left_out = [(name, LANGUAGES[each.language]) for name, each in ELSEWHERE.items() if name not in models_elsewhere()]
    return [
        f"{name} is served by Python instead of {language.title}, which is not built here. {how_to_get(language)}; "
        "then `make languages`."
        for name, language in left_out
    ]


def train_elsewhere(training: Applicants) -> None:
    """Trains the models of the languages that are built.

    Raises:
        TrainingError: a training failed; the message ends with what it printed.
    """
    # An id is nothing to learn from.
    table = training.table.drop(columns="customer_id").assign(
        outcome=["bad" if bad else "good" for bad in training.defaulted]
    )
    table.to_csv(FOLDER / TRAINING_CSV, index=False)
    for name in models_elsewhere():
        command = ELSEWHERE[name].train
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=_TRAIN_TIMEOUT_S, check=False)
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
            raise TrainingError(f"training {name} (`{' '.join(command)}`) ended with {done.returncode}:\n{said}")


def read_project() -> dict[str, Any]:
    """Returns the project file, with stand-ins where a language is not built."""
    project: dict[str, Any] = yaml.safe_load(PROJECT.read_text())
    for name in ELSEWHERE.keys() - set(models_elsewhere()):
        project["models"][name]["run"] = ELSEWHERE[name].stand_in
        project["models"][name]["env"] = project["models"]["boosted"]["env"]
    return project


def main() -> None:
    """Writes the project file for this machine beside `rendezvous.yaml`, and prints its path."""
    path = PROJECT
    if describe_left_out():
        path = HERE / "rendezvous.here.yaml"
        path.write_text(yaml.safe_dump(read_project(), sort_keys=False))
    print(path)


if __name__ == "__main__":
    main()
