"""Mappings on the command line: `x:FP32=[a,b,c],reason=purpose` and `risk=predict_proba[1],[low,high]=predict`."""

import re
from collections.abc import Iterator

from rendezvous_router.bridge.errors import BridgeError
from rendezvous_router.bridge.mapping import ColumnSource, MappingSpec, TensorSource, parse_mapping

__all__ = ["parse_inputs", "parse_outputs"]

_NAME = r"[^\s,:=\[\]]+"
_LIST = rf"\[\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\]"
_INPUT = re.compile(rf"(?P<tensor>{_NAME})(?::(?P<type>\w+))?=(?P<source>{_NAME}|{_LIST})")
_OUTPUT = re.compile(rf"(?P<column>{_NAME}|{_LIST})(?::(?P<type>\w+))?=(?P<tensor>{_NAME})(?:\[(?P<index>\d+)\])?")


def parse_inputs(text: str) -> dict[str, TensorSource]:
    """Reads `--inputs`: `tensor=column`, `tensor=[column,column]`, each with `:DATATYPE` behind the tensor if needed.

    Raises:
        BridgeError: it is not of that form; names the part.
    """
    document: dict[str, dict[str, object]] = {}
    for part in _parts(text):
        match = _INPUT.fullmatch(part)
        if match is None:
            raise _refusal("--inputs", part, "tensor=column or tensor=[column,column], as in x:FP32=[age,income]")
        names = _names(match["source"])
        made: dict[str, object] = {"pack": names} if match["source"].startswith("[") else {"column": names[0]}
        document[match["tensor"]] = made | ({"datatype": match["type"]} if match["type"] else {})
    return _checked("--inputs", {"inputs": document}).inputs


def parse_outputs(text: str) -> dict[str, ColumnSource]:
    """Reads `--outputs`: `column=tensor`, `column=tensor[1]`, `[column,column]=tensor`, each with `:TYPE` if needed.

    Raises:
        BridgeError: it is not of that form; names the part.
    """
    document: dict[str, dict[str, object]] = {}
    for part in _parts(text):
        match = _OUTPUT.fullmatch(part)
        is_list = match is not None and match["column"].startswith("[")
        if match is None or (is_list and match["index"]):
            raise _refusal("--outputs", part, "column=tensor, column=tensor[1] or [column,column]=tensor")
        made: dict[str, object] = {"tensor": match["tensor"]} | ({"type": match["type"]} if match["type"] else {})
        if match["index"]:
            made["index"] = int(match["index"])
        for index, name in enumerate(_names(match["column"])):
            document[name] = made | ({"index": index} if is_list else {})
    return _checked("--outputs", {"outputs": document}).outputs


def _parts(text: str) -> Iterator[str]:
    """Splits at the commas outside of brackets."""
    return (part.strip() for part in re.split(r",(?![^\[]*\])", text))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.strip("[]").split(",")]


def _checked(option: str, document: object) -> MappingSpec:
    try:
        return parse_mapping(document)
    except ValueError as error:
        raise BridgeError(f"{option}: {error}") from error


def _refusal(option: str, part: str, form: str) -> BridgeError:
    return BridgeError(f"{option}: {part!r} cannot be read: write {form}; other names need a file (--mapping)")
