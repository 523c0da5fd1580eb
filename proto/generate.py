"""Generates the Python packages `rendezvous_proto.v1` and `rendezvous_proto.inference` from their `.proto` files.

protoc derives Python imports from the files' paths, `rendezvous.v1`, which is the name of the decision core;
so the generated imports are rewritten to `rendezvous_proto.v1`, and those of the Open Inference Protocol likewise.
Run by `make proto`; `--check` only compares.
"""

import re
import sys
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped] # ships no types

ROOT = Path(__file__).resolve().parent
MESSAGE = re.compile(r"^class (\w+)\((?:_message\.Message|int, metaclass)", re.MULTILINE)
STUB = re.compile(r"^(?:class (\w+(?:Stub|Servicer))[(:]|def (add_\w+_to_server)\()", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Package:
    """One protobuf package and the Python package that is made of it."""

    folder: str
    """Folder of its `.proto` files, from here; with dots, what protoc imports."""
    name: str
    """Name of the Python package in `rendezvous_proto`."""

    @property
    def python(self) -> str:
        """Full name of the Python package."""
        return f"rendezvous_proto.{self.name}"

    @property
    def target(self) -> Path:
        """Where the generated files are kept."""
        return ROOT / "src" / "rendezvous_proto" / self.name

    def rewritten(self, text: str) -> str:
        """Returns generated code with its imports of this package put right."""
        path = re.escape(self.folder.replace("/", "."))
        found = re.compile(rf"\b(from ){path}( import)|\b(import ){path}\b")
        return found.sub(lambda m: (m[1] or m[3]) + self.python + (m[2] or ""), text)


PACKAGES = (Package("rendezvous/v1", "v1"), Package("inference", "inference"))


def generate(package: Package, target: Path) -> None:
    """Writes messages, type stubs and gRPC stubs into *target*, replacing what was generated before."""
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / package.folder).glob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        include = str(resources.files("grpc_tools") / "_proto")
        outputs = [f"--{kind}_out={scratch}" for kind in ("python", "pyi", "grpc_python")]
        status = protoc.main(["protoc", f"-I{ROOT}", f"-I{include}", *outputs, *sources])
        if status != 0:
            sys.exit(status)
        target.mkdir(exist_ok=True)
        for stale in target.glob("*_pb2*"):
            stale.unlink()
        for made in sorted(Path(scratch).rglob("*_pb2*.py*")):
            text = made.read_text()
            if made.name.endswith("_pb2_grpc.py") and not STUB.search(text):
                continue  # files without a service have nothing in theirs
            (target / made.name).write_text(package.rewritten(text))
        (target / "__init__.py").write_text(facade(package, target))


def facade(package: Package, target: Path) -> str:
    """Returns the text of the package's `__init__`: every message and stub under one name."""
    imports, names = [], []
    for path in (*sorted(target.glob("*_pb2.pyi")), *sorted(target.glob("*_pb2_grpc.py"))):
        pattern = STUB if path.suffix == ".py" else MESSAGE
        found = sorted(next(filter(None, match.groups())) for match in pattern.finditer(path.read_text()))
        names += found
        module = f"{package.python}.{path.stem}"
        imports.append(f"from {module} import (\n" + "".join(f"    {name},\n" for name in found) + ")")
    exported = "__all__ = [\n" + "".join(f'    "{name}",\n' for name in sorted(names)) + "]"
    dotted = package.folder.replace("/", ".")
    title = f'"""The generated messages and stubs of package `{dotted}`, under one name."""'
    return "\n".join([title, "", *imports, "", exported, ""])


def find_drift(package: Package) -> list[str]:
    """Returns the names of generated files that differ from what would be generated now."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(package, Path(scratch))
        made = {path.name: path.read_bytes() for path in Path(scratch).glob("*.py*")}
        kept = {path.name: path.read_bytes() for path in package.target.glob("*.py*")}
    return sorted(f"{package.name}/{name}" for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        for each in PACKAGES:
            generate(each, each.target)
    elif drift := [name for each in PACKAGES for name in find_drift(each)]:
        sys.exit(f"not up to date: {', '.join(drift)}; run `make proto`")
