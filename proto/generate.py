"""Generates the Python package `rendezvous_proto.v1` from `rendezvous/v1/*.proto`.

protoc derives Python imports from the files' paths, `rendezvous.v1`, which is the name of the decision core;
so the generated imports are rewritten to `rendezvous_proto.v1`. Run by `make proto`; `--check` only compares.
"""

import re
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped] # ships no types

ROOT = Path(__file__).resolve().parent
TARGET = ROOT / "src" / "rendezvous_proto" / "v1"
IMPORT = re.compile(r"\b(from )rendezvous\.v1( import)|\b(import )rendezvous\.v1\b")


def generate(target: Path) -> None:
    """Writes messages, type stubs and gRPC stubs into *target*, replacing what was generated before."""
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "rendezvous" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        include = str(resources.files("grpc_tools") / "_proto")
        outputs = [f"--{kind}_out={scratch}" for kind in ("python", "pyi", "grpc_python")]
        status = protoc.main(["protoc", f"-I{ROOT}", f"-I{include}", *outputs, *sources])
        if status != 0:
            sys.exit(status)
        for stale in target.glob("*_pb2*"):
            stale.unlink()
        for made in sorted(Path(scratch).rglob("*_pb2*.py*")):
            if made.name.endswith("_pb2_grpc.py") and made.name != "score_pb2_grpc.py":
                continue  # files without a service have nothing in theirs
            text = IMPORT.sub(lambda m: (m[1] or m[3]) + "rendezvous_proto.v1" + (m[2] or ""), made.read_text())
            (target / made.name).write_text(text)
        (target / "__init__.py").write_text(facade(target))


def facade(target: Path) -> str:
    """Returns the text of the package's `__init__`: every message and stub under one name."""
    definition = re.compile(r"^class (\w+)\((?:_message\.Message|int, metaclass)", re.MULTILINE)
    imports, names = [], ["ScoreServicer", "ScoreStub", "add_ScoreServicer_to_server"]
    for stub in sorted(target.glob("*_pb2.pyi")):
        found = sorted(definition.findall(stub.read_text()))
        names += found
        module = f"rendezvous_proto.v1.{stub.stem}"
        imports.append(f"from {module} import (\n" + "".join(f"    {name},\n" for name in found) + ")")
    stubs = "".join(f"    {name},\n" for name in names[:3])
    grpc = f"from rendezvous_proto.v1.score_pb2_grpc import (\n{stubs})"
    exported = "__all__ = [\n" + "".join(f'    "{name}",\n' for name in sorted(names)) + "]"
    title = '"""The generated messages and stubs of package `rendezvous.v1`, under one name."""'
    return "\n".join([title, "", *imports, grpc, "", exported, ""])


def find_drift() -> list[str]:
    """Returns the names of generated files that differ from what would be generated now."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        made = {path.name: path.read_bytes() for path in Path(scratch).glob("*.py*")}
        kept = {path.name: path.read_bytes() for path in TARGET.glob("*.py*")}
    return sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        generate(TARGET)
    elif drift := find_drift():
        sys.exit(f"not up to date: {', '.join(drift)}; run `make proto`")
