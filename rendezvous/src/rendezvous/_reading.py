"""Turns a plain document into structs, noting every problem with its path."""

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from rendezvous._problems import Problems, nearest


class _Unreadable:
    """Stands for a value that could not be read; its problem is noted."""


UNREADABLE = _Unreadable()


def read_struct(kind: type[msgspec.Struct], value: object, path: str, problems: Problems) -> Any:
    """Read a mapping as a struct.

    Args:
        kind: The struct's class; its annotations say what is allowed.
        value: The document's part.
        path: Where that part is.
        problems: Collects what is wrong.

    Returns:
        The struct, or `UNREADABLE` when anything in it is wrong.
    """
    if not isinstance(value, Mapping):
        problems.add(path, f"expected a mapping, found {describe(value)}")
        return UNREADABLE
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    hints = get_type_hints(kind)
    if True in value and "on" in fields and "on" not in value:
        # YAML 1.1 reads the bare word `on` as true; nobody means that as a key.
        value = {"on" if key is True else key: item for key, item in value.items()}
    before = len(problems.found)
    for key in value:
        if key not in fields:
            problems.add(join(path, str(key)), f"unknown key{nearest(str(key), fields)}")
    given: dict[str, Any] = {}
    for name, field in fields.items():
        if name in value:
            given[name] = read_value(hints[name], value[name], join(path, name), problems)
        elif field.required:
            problems.add(join(path, name), "missing; it has no default")
    return kind(**given) if len(problems.found) == before else UNREADABLE


def read_value(kind: Any, value: object, path: str, problems: Problems) -> Any:
    """Read one value of any annotated type; arguments and result as in `read_struct`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return read_struct(kind, value, path, problems)
    if origin is list and isinstance(value, list | tuple):
        return [read_value(arguments[0], item, f"{path}[{i}]", problems) for i, item in enumerate(value)]
    if origin is dict and isinstance(value, Mapping):
        return _read_dict(arguments[1], value, path, problems)
    return _read_plain(kind, value, path, problems)


def _read_dict(kind: Any, value: Mapping[Any, object], path: str, problems: Problems) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(key, str):
            found[key] = read_value(kind, item, join(path, key), problems)
        else:
            problems.add(path, f"key {describe(key)} is not text; put it in quotes")
    return found


def _read_plain(kind: Any, value: object, path: str, problems: Problems) -> Any:
    if kind is Any:
        return value
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        if choices and isinstance(value, str):
            problems.add(path, f"unknown value {value!r}{nearest(value, choices)}")
        else:
            problems.add(path, f"expected {name_of(kind)}, found {describe(value)}{_hint(path, value)}")
        return UNREADABLE


def _hint(path: str, value: object) -> str:
    is_duration = path.endswith((".deadline", ".until", ".max_age", ".budget"))
    return f"; a duration needs its unit: '{value}ms'" if is_duration and isinstance(value, int | float) else ""


def name_of(kind: Any) -> str:
    """A type as people say it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(name_of(each) for each in arguments if each is not type(None))
    if origin is Literal:
        return " or ".join(repr(each) for each in arguments)
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if origin is list:
        return f"a list of {name_of(arguments[0])}"
    return "a mapping" if origin is dict else words.get(kind, str(kind))


def describe(value: object) -> str:
    """A found value, short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def join(path: str, key: str) -> str:
    """Path of a key below a path."""
    return f"{path}.{key}" if path else key
