"""Values that break models: what each type has of them."""

from collections.abc import Iterator
from typing import Any

__all__ = ["extremes_of"]

_LONG = 100_000
_MANY_DIGITS = {"FP16": 65504.0, "FP32": 3.4028234663852886e38, "FP64": 1.7976931348623157e308}
_TINY = {"FP16": 5.960464477539063e-08, "FP32": 1.401298464324817e-45, "FP64": 5e-324}
_TEXTS = {
    "empty": "",
    "a space": " ",
    "unknown": "no such category, never seen",
    "many scripts": "naïve 数据 🤷 \u202e",
    "a zero character": "a\0b",
    "very long": "x" * _LONG,
}


def extremes_of(kind: str) -> Iterator[tuple[str, Any]]:
    """Yields extreme values of a type, by name: the ends of its range, and what is in no range."""
    if kind == "BOOL":
        yield from (("false", False), ("true", True))
    elif kind == "STRING":
        yield from _TEXTS.items()
    elif kind == "BYTES":
        yield from (("empty", b""), ("zeros", bytes(16)), ("very long", bytes(_LONG)))
    elif kind.startswith("FP"):
        huge = _MANY_DIGITS[kind]
        yield from (("nan", float("nan")), ("infinity", float("inf")), ("-infinity", float("-inf")))
        yield from (("greatest", huge), ("least", -huge), ("tiny", _TINY[kind]), ("-0.0", -0.0), ("zero", 0.0))
    else:
        bits = int(kind.lstrip("UINT"))
        low, high = (0, 2**bits - 1) if kind.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        yield from (("least", low), ("greatest", high), ("zero", 0))
        if low:
            yield "minus one", -1
