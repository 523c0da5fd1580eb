"""Every type there and back through the language's native table, by the probe."""

import math
from collections.abc import Callable
from typing import Any

from rendezvous_proto import v1
from rendezvous_proto.vectors import load_vectors

from rendezvous_router.conformance.case import Need, group
from rendezvous_router.conformance.cases._checks import check_echo, check_items
from rendezvous_router.conformance.site import Site

case = group("Values through the language's native table")

_SCALARS = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "fp16", "fp32", "fp64", "string", "bytes",
)  # fmt: skip
_SHAPED = {"vector": ("FP64", [3]), "matrix": ("INT32", [2, 2]), "texts": ("STRING", [2]), "hollow": ("FP64", [0])}
_SAMPLES: dict[str, Any] = {
    "vector": [[1.5, math.nan, -math.inf], None, [0.0, -0.0, 1e308]],
    "matrix": [[[1, 2], [3, 4]], None, [[-1, 2147483647], [0, -7]]],
    "texts": [["", "Zürich"], None, ["東京", "NA"]],
    "hollow": [[], [], []],
}
_LOWEST = {"int32": -(2**31), "int64": -(2**63)}  # R's NA
_WIDE = 2**53


def _vector_values(kind: str) -> list[Any]:
    """Returns every scalar of a type that is in the vectors, None for missing."""
    values: list[Any] = []
    for topic in ("frames", "missing"):
        for vector in load_vectors(topic):
            if vector["kind"] == "valid":
                values += [
                    _python_value(kind, value)
                    for column in vector["columns"]
                    if column["type"] == kind and not column["shape"]
                    for value in column["values"]
                ]
    return values


def _python_value(kind: str, value: Any) -> Any:
    if value is None or kind in {"STRING", "BOOL"}:
        return value
    if kind == "BYTES":
        return bytes.fromhex(value)
    return float(value) if kind.startswith("FP") else int(value)


def _is_special(name: str, value: Any) -> bool:
    """Whether a value has a case of its own."""
    if isinstance(value, str):
        return "\0" in value
    is_wide = name in {"int64", "uint64"} and value is not None and abs(value) > _WIDE
    return is_wide or (name in _LOWEST and value == _LOWEST[name])


def _ordinary_values(name: str) -> list[Any]:
    return [value for value in _vector_values(name.upper()) if value is not None and not _is_special(name, value)]


async def _echo(site: Site, **columns: list[Any]) -> None:
    """Sends values of single columns and expects all of the table back."""
    rows = len(next(iter(columns.values())))
    table = site.inputs.table(rows, columns=columns)
    check_echo(table, (await site.caller.score(table)).outputs)


def _echo_case(name: str) -> Callable[[Site], Any]:
    async def check(site: Site) -> str:
        """Every value of the vectors, missing rows among them, then missing rows alone."""
        present = [value for value in _SAMPLES.get(name, []) if value is not None] or _ordinary_values(name)
        values = [present[0], None, *present[1:]]
        for chosen in (present, [*values, None], [None, None], [None, present[0]]):
            await _echo(site, **{name: chosen})
        return f"{len(values)} values"

    return check


for _name in (*_SCALARS, *_SHAPED):
    _what = _name.upper() if _name in _SCALARS else f"{_SHAPED[_name][0]} of shape {_SHAPED[_name][1]}"
    case(
        f"grpc.echo-{_name}",
        f"{_what} comes back as sent, missing rows too",
        rules="P43 P44 P51 P52",
        needs=[Need.PROBE],
    )(_echo_case(_name))


@case("grpc.echo-wide-int64", "INT64 beyond 2^53 comes back to the last digit", rules="P44", needs=[Need.PROBE])
async def echo_wide_int64(site: Site) -> None:
    """With and without missing rows beside."""
    wide = [_WIDE + 1, -_WIDE - 1, 2**63 - 1, 2**63 - 2]
    await _echo(site, int64=wide)
    await _echo(site, int64=[*wide, None])


@case(
    "grpc.echo-wide-uint64",
    "UINT64 beyond 2^53 and beyond INT64 comes back to the last digit",
    rules="P44",
    needs=[Need.PROBE],
)
async def echo_wide_uint64(site: Site) -> None:
    """With and without missing rows beside."""
    wide = [_WIDE + 1, 2**63 - 1, 2**63, 2**64 - 1]
    await _echo(site, uint64=wide)
    await _echo(site, uint64=[*wide, None])


@case(
    "grpc.echo-lowest-integers", "the lowest INT32 and INT64 are numbers, not missing", rules="P52", needs=[Need.PROBE]
)
async def echo_lowest(site: Site) -> None:
    """The bits that R takes for NA."""
    for name, lowest in _LOWEST.items():
        await _echo(site, **{name: [lowest, lowest + 1]})
        await _echo(site, **{name: [lowest, None]})


@case("grpc.echo-nul", "text with the character NUL comes back", rules="P45", needs=[Need.PROBE])
async def echo_nul(site: Site) -> None:
    """In the middle and alone."""
    await _echo(site, string=["a\0b", "\0"])


@case("grpc.echo-nan-and-missing", "NaN, missing and empty text stay three things", rules="P52", needs=[Need.PROBE])
async def echo_nan(site: Site) -> None:
    """In one column each."""
    await _echo(
        site,
        fp16=[math.nan, None, 0.5],
        fp32=[math.nan, None, 0.5],
        fp64=[math.nan, None, 0.5],
        string=["", None, "NA"],
        bytes=[b"", None, b"NA"],
    )


@case("grpc.echo-nan-payload", "NaN with any payload is NaN, not missing", rules="P52", needs=[Need.PROBE])
async def echo_nan_payload(site: Site) -> None:
    """The bit patterns of the vectors; that of R's NA is among them."""
    for vector in load_vectors("nans"):
        sent = v1.Frame.FromString(bytes.fromhex(vector["wire"])).columns[0]
        table = site.inputs.table(vector["rows"])
        column = next(each for each in table.columns if each.name == vector["type"].lower())
        column.values, column.missing = sent.values, sent.missing
        check_echo(table, (await site.caller.score(table)).outputs)


@case("grpc.echo-column-order", "inputs may come in any order of columns", rules="P41 P60", needs=[Need.PROBE])
async def echo_column_order(site: Site) -> None:
    """Backwards."""
    table = site.inputs.table(3)
    turned = v1.Frame(rows=3, columns=list(reversed(table.columns)))
    check_echo(table, (await site.caller.score(turned)).outputs)


@case(
    "postbox.echo",
    "every type comes back through a parcel, missing rows and all",
    rules="P26 P53",
    needs=[Need.PUBLISH, Need.PROBE],
)
async def echo_in_parcel(site: Site) -> None:
    """Three requests: everything there, everything missing, some of each."""
    names = [name for name in site.inputs.specs if name != "command"]
    samples = {name: _SAMPLES.get(name) or _ordinary_values(name) for name in names}
    full = site.inputs.table(2, first=5)
    gone = site.inputs.table(2, columns={name: [None, None] for name in names})
    mixed = site.inputs.table(3, columns={name: [samples[name][0], None, samples[name][-1]] for name in names})
    parcel = site.postman.parcel(full, gone, mixed)
    await site.postman.send(parcel)
    score = await site.postman.score_of(parcel)
    check_items(score, parcel)
    check_echo(parcel.inputs, score.outputs)
