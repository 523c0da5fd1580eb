"""Which languages are built here, and the models that the tests write in each."""

import os
import sys
from collections.abc import Mapping

import pytest

from toolchains.building import is_built
from toolchains.languages import LANGUAGES, R_LIBRARY, ROOT
from toolchains.programs import PROBE_JAR, Program

_LOGIT = ROOT / "tests" / "logit"
LOGITS: Mapping[str, Program] = {
    "python": Program(command=[sys.executable, str(_LOGIT / "logit.py")]),
    "java": Program(command=["java", "-cp", str(PROBE_JAR), str(_LOGIT / "Logit.java")]),
    "r": Program(command=["Rscript", str(_LOGIT / "logit.R")], env={"R_LIBS": str(R_LIBRARY)}),
}
"""The logistic regression by its coefficients, by language."""


def require_language(name: str) -> None:
    """Skips the test where *name* is not built, visibly; in continuous integration it fails instead."""
    if name == "python" or is_built(LANGUAGES[name]):
        return
    reason = f"{LANGUAGES[name].title} is not built here: `make languages` says what is missing"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
