"""The probe: a model by which the conformance kit tries an SDK; every language ships the same one.

It gives back what it gets, through the table that a model's author sees (here a pandas DataFrame), and misbehaves on
command. Run it with `python -m rendezvous_sdk.probe`; what it serves it takes from the environment.
With `trivial` as argument, or in `RENDEZVOUS_PROBE`, it is the model that the bench measures: it gives its first
FP64 column back.
"""

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rendezvous_proto import v1

from rendezvous_sdk.model import Model
from rendezvous_sdk.serve import serve

__all__ = ["PROBE", "TRIVIAL"]

_VARIABLE = "RENDEZVOUS_PROBE"
_SHAPES = {
    "vector": ("FP64", [3]),
    "matrix": ("INT32", [2, 2]),
    "texts": ("STRING", [2]),
    "hollow": ("FP64", [0]),
}
_SCALARS = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "fp16", "fp32", "fp64", "string", "bytes",
)  # fmt: skip


def _signature() -> v1.Signature:
    echoed: list[tuple[str, str, list[int]]] = [(name, name.upper(), []) for name in _SCALARS]
    echoed += [(name, kind, shape) for name, (kind, shape) in _SHAPES.items()]
    columns = [
        v1.ColumnSpec(
            name=name,
            type=f"DATA_TYPE_{kind}",
            shape=shape,
            allow_missing=True,
            allow_nan=kind.startswith("FP"),
        )
        for name, kind, shape in echoed
    ]
    command = v1.ColumnSpec(name="command", type=v1.DataType.DATA_TYPE_STRING)
    strict = v1.ColumnSpec(name="strict", type=v1.DataType.DATA_TYPE_FP64)
    return v1.Signature(inputs=[command, *columns], outputs=[*columns, strict])


def _echo(table: Any) -> Any:
    answer = table.drop(columns="command")
    answer["strict"] = 0.5
    return answer


def _fail(_table: Any, message: str) -> Any:
    raise ValueError(message)


def _fail_severely(_table: Any, message: str) -> Any:
    raise SystemExit(message)


def _sleep(table: Any, milliseconds: str) -> Any:
    time.sleep(float(milliseconds) / 1000)
    return _echo(table)


def _hang(_table: Any, _argument: str) -> Any:
    while True:
        pass


def _crash(_table: Any, _argument: str) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


_COMMANDS: dict[str, Callable[[Any, str], Any]] = {
    "fail": _fail,
    "error": _fail_severely,
    "sleep": _sleep,
    "wrong-rows": lambda table, _: _echo(table).iloc[:-1],
    "wrong-type": lambda table, _: _echo(table).assign(fp64="text"),
    "missing-column": lambda table, _: _echo(table).drop(columns="strict"),
    "nan": lambda table, _: _echo(table).assign(strict=np.nan),
    "hang": _hang,
    "crash": _crash,
}


def _score_probe(table: Any) -> Any:
    """Echoes; the first row that commands something else decides for the table it is in."""
    chosen = next((text for text in table["command"] if text not in ("", "echo")), None)
    if chosen is None:
        return _echo(table)
    command, _, argument = chosen.partition(":")
    if command not in _COMMANDS:
        raise ValueError(f"the probe has no command {command!r}: use echo, {', '.join(_COMMANDS)}")
    return _COMMANDS[command](table, argument)


def _score_trivially(table: dict[str, Any]) -> dict[str, Any]:
    """Gives the first FP64 column back."""
    return {"y": next(values for values in table.values() if values.dtype == np.float64)}


PROBE = Model(
    score=_score_probe,
    takes="pandas",
    setup=partial(importlib.import_module, "pandas"),  # takes longer than a short scoring limit
    name="probe",
    info=v1.ModelInfo(signature=_signature(), task="conformance probe"),
    source=_score_probe,
)
"""Echoes, and misbehaves on command."""

TRIVIAL = Model(score=_score_trivially, name="trivial", info=v1.ModelInfo(task="trivial"), source=_score_trivially)
"""Gives its first FP64 column back."""


def main() -> None:
    """Serves the probe, or the trivial model, as the environment says.

    Raises:
        SystemExit: another argument than `probe` or `trivial`, or serving failed.
    """
    kind = sys.argv[1] if len(sys.argv) > 1 else os.environ.get(_VARIABLE) or "probe"
    models = {"probe": PROBE, "trivial": TRIVIAL}
    if kind not in models:
        raise SystemExit(f"{kind!r} is no probe: use probe or trivial")
    serve(models[kind])


if __name__ == "__main__":
    main()
