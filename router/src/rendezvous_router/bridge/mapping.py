"""What a mapping may say: how an endpoint's columns become a model's tensors, and its answer the endpoint's columns.

```yaml
inputs:                                              # the model's tensors
  x: {pack: [duration_months, amount], datatype: FP32}   # scalar columns side by side: one tensor [rows, 2]
  reason: {column: purpose}                          # another name
outputs:                                             # the endpoint's columns
  default_probability: {tensor: predict_proba, index: 1}
  label: {tensor: predict, type: STRING}
missing: {amount: 0}                                 # stands for missing values of a column
parameters: {content_type: pd}                       # of each Open Inference request
contents: raw                                        # or: typed; how tensors are written in Open Inference over gRPC
```

What is not said follows by name.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from msgspec import Meta, Struct
from rendezvous._problems import Problems, nearest
from rendezvous._reading import read_struct
from rendezvous.spec import SpecError, TypeName

from rendezvous_router.bridge.errors import BridgeError

__all__ = ["ColumnSource", "MappingSpec", "TensorSource", "load_mapping", "parse_mapping"]

MissingValue = bool | int | float | str
ParameterValue = bool | int | str


class TensorSource(Struct, frozen=True):
    """What one of the model's tensors is made of."""

    column: Annotated[str | None, Meta(description="The endpoint's column; default: the tensor's name.")] = None
    pack: Annotated[list[str] | None, Meta(description="Scalar columns, side by side, instead of one column.")] = None
    datatype: Annotated[str, Meta(description="Datatype, where the model declares none; empty: the columns' own.")] = ""

    @property
    def is_pack(self) -> bool:
        """Whether it is made of several columns."""
        return self.pack is not None


class ColumnSource(Struct, frozen=True):
    """What one of the endpoint's columns is taken from."""

    tensor: Annotated[str | None, Meta(description="The model's tensor; default: the column's name.")] = None
    index: Annotated[int | None, Meta(description="Position in each row of the tensor; default: the whole row.")] = None
    type: Annotated[str, Meta(description="Type, where the endpoint declares none; empty: the tensor's own.")] = ""


class MappingSpec(Struct, frozen=True):
    """A mapping as it was written; an empty one goes by names alone."""

    inputs: Annotated[dict[str, TensorSource], Meta(description="The model's tensors, by name.")] = {}
    outputs: Annotated[dict[str, ColumnSource], Meta(description="The endpoint's columns, by name.")] = {}
    missing: Annotated[dict[str, MissingValue], Meta(description="What stands for missing values, by column.")] = {}
    parameters: Annotated[dict[str, ParameterValue], Meta(description="Of each Open Inference request.")] = {}
    contents: Annotated[
        Literal["raw", "typed"], Meta(description="How tensors are written in Open Inference over gRPC.")
    ] = "raw"


def parse_mapping(document: object) -> MappingSpec:
    """Reads and checks a mapping document.

    Raises:
        SpecError: something is wrong; `problems` has every path and message.
    """
    problems = Problems()
    mapping = read_struct(MappingSpec, {} if document is None else document, "", problems)
    problems.check()
    for name, source in mapping.inputs.items():
        _check_type(f"inputs.{name}.datatype", source.datatype, problems)
        if source.column is not None and source.pack is not None:
            problems.add(f"inputs.{name}", "has both a column and a pack: give one of them")
        if source.pack is not None and not source.pack:
            problems.add(f"inputs.{name}.pack", "is empty: name the columns")
    for name, column in mapping.outputs.items():
        _check_type(f"outputs.{name}.type", column.type, problems)
        if column.index is not None and column.index < 0:
            problems.add(f"outputs.{name}.index", f"{column.index}: positions are counted from 0")
    problems.check()
    return mapping  # type: ignore[no-any-return] # read_struct gives the class that it was asked for


def load_mapping(path: Path) -> MappingSpec:
    """Reads a mapping file.

    Raises:
        BridgeError: it is not there, is no YAML, or is not a valid mapping; names path and nearest key.
    """
    try:
        return parse_mapping(_load_yaml(path))
    except SpecError as error:
        lines = [f"{path}: {where or 'document'}: {what}" for where, what in error.problems]
        raise BridgeError("\n".join(lines)) from error


def _check_type(path: str, name: str, problems: Problems) -> None:
    known = get_args(TypeName)
    if name and name not in known:
        problems.add(path, f"type {name!r} is unknown{nearest(name, known)}")


def _load_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BridgeError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BridgeError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise BridgeError(f"{path}{where}: is not YAML: {getattr(error, 'problem', None) or error}") from error
