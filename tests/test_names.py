"""The table of names is true: what it names exists, and what the packages export is in it."""

import importlib
import inspect
import re
import subprocess

import pytest
import rendezvous_sdk
from rendezvous_proto.errors import ErrorCode
from rendezvous_sdk import errors

from tests.support.languages import require_language
from toolchains.languages import ROOT
from toolchains.programs import PROBE_JAR

PAGE = (ROOT / "docs" / "names.md").read_text(encoding="utf-8")
_NAME = re.compile(r"`([^`]+)`")


def names_of(column: int) -> list[str]:
    """Returns the names in one column of the table: 1 Python, 2 Java, 3 R."""
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ")][1:]
    return [name for row in rows for name in _NAME.findall(row[column])]


def test_the_table_has_a_name_for_every_concept() -> None:
    """No language has fewer concepts than the table has rows, but for those marked with a dash."""
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ") and "**" not in line][1:]
    for concept, *cells in rows:
        for cell in cells:
            assert _NAME.search(cell) or cell.strip() == "\u2013", f"{concept.strip()}: {cell!r}"


def test_python_names_are_exported() -> None:
    """Each Python name is found; each exported one is in the table."""
    named = names_of(1)
    for name in named:
        module, _, rest = name.partition(".")
        if not hasattr(rendezvous_sdk, module):
            importlib.import_module(f"rendezvous_sdk.{module}")
        found: object = rendezvous_sdk
        for part in [module, *filter(None, rest.split("."))]:
            found = getattr(found, part)
    assert set(rendezvous_sdk.__all__) <= {name.partition(".")[0] for name in named}


def test_every_error_has_its_class_in_python() -> None:
    """Each code has a leaf class, named after it."""
    leaves = {name for name, found in vars(errors).items() if inspect.isclass(found)}
    for code in ErrorCode:
        if code:
            assert f"{camel(code.name)}Error" in leaves


def test_java_names_are_exported() -> None:
    """Each Java name is a public class or method of the published jars; each public class is in the table."""
    require_language("java")
    classes = public_classes()
    named = names_of(2)
    for name in named:
        owner, _, method = name.rpartition(".")
        if owner and owner[0].isupper():
            assert re.search(rf"\b{method}\(", describe_class(f"io.rendezvous.{owner}")), name
        elif not name.startswith(("pmml.", "onnx.")):
            assert f"io.rendezvous.{name}" in classes, name
    listed = {name.partition(".")[0] for name in [*named, *_NAME.findall(PAGE.rpartition("What only one")[2])]}
    leaves = {f"{camel(code.name)}Exception" for code in ErrorCode if code}
    own = {name.removeprefix("io.rendezvous.") for name in classes if name.count(".") == 2}
    assert leaves <= own
    assert own <= listed | leaves, f"not in docs/names.md: {sorted(own - listed - leaves)}"


def test_r_names_are_exported() -> None:
    """The R names are exactly the exports of the package."""
    namespace = (ROOT / "sdk-r" / "NAMESPACE").read_text(encoding="utf-8")
    assert set(re.findall(r"^export\((\w+)\)", namespace, re.MULTILINE)) == set(names_of(3))


def public_classes() -> set[str]:
    """Returns the public top-level classes of `io.rendezvous` in the probe's jar, which holds the SDK."""
    listed = run("jar", "tf", str(PROBE_JAR)).splitlines()
    names = [
        line.removesuffix(".class").replace("/", ".")
        for line in listed
        if re.fullmatch(r"io/rendezvous/(?!v1/|internal/)[\w/]+\.class", line)
    ]
    return {name for name in names if re.search(r"^public ", describe_class(name), re.MULTILINE)}


def describe_class(name: str) -> str:
    """Returns the public members of a class, as `javap` prints them; empty for a class that is not there."""
    done = subprocess.run(
        ["javap", "-public", "-cp", str(PROBE_JAR), name], capture_output=True, text=True, check=False
    )
    return done.stdout


def run(*command: str) -> str:
    """Returns what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def camel(constant: str) -> str:
    """Returns TooLarge for TOO_LARGE."""
    return "".join(word.capitalize() for word in constant.split("_"))


@pytest.mark.parametrize(("constant", "expected"), [("TOO_LARGE", "TooLarge"), ("EXPIRED", "Expired")])
def test_camel_case(constant: str, expected: str) -> None:
    """The rule by which a code becomes a class name."""
    assert camel(constant) == expected
