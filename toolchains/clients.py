"""Public clients that the tests use as they are, each in an environment of its own because its pins differ from ours.

They are prepared as the languages are: `python -m toolchains prepare tritonclient`.
"""

import sys

from toolchains.languages import TOOLS, Language, Tool

TRITONCLIENT = "tritonclient"
TRITONCLIENT_PYTHON = TOOLS / TRITONCLIENT / "bin" / "python"
"""The Python that has it."""

CLIENTS: dict[str, Language] = {
    TRITONCLIENT: Language(
        name=TRITONCLIENT,
        title="tritonclient",
        tools=[Tool(command=[sys.executable, "--version"], least=(3, 11))],
        packages=[],
        sources=["toolchains/tritonclient"],
        outputs=[".tools/tritonclient"],
        build=["toolchains/tritonclient/build.sh", ".tools/tritonclient"],
        is_cached=False,  # an environment knows its own path; what it is made of, pip keeps
    ),
}
"""What is prepared, by name."""
