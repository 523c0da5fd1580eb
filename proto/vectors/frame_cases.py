"""Cases of frames, missing rows and NaN."""

from typing import Any

from wire import TYPES, Json, broken, column, frame, spoilt, wire

SAMPLES: dict[str, list[Any]] = {
    "BOOL": [True, False], "FP16": [0.5, -2.0], "FP32": [0.5, -2.0], "FP64": [0.1, -2.0],
    "STRING": ["a", "ü"], "BYTES": ["00", "ff00"], "INT64": ["1", "-2"], "UINT64": ["1", "2"],
}  # fmt: skip


def valid_frames() -> list[Json]:
    """Lists frames of every type and form."""
    extremes: dict[str, list[Any]] = {"BOOL": [True, False], "FP16": [0.5, -65504.0, "NaN"]}
    for kind, bits in (("INT", (8, 16, 32, 64)), ("UINT", (8, 16, 32, 64))):
        for width in bits:
            low = -(1 << width - 1) if kind == "INT" else 0
            high = (1 << width - (kind == "INT")) - 1
            pair = [low, high]
            extremes[f"{kind}{width}"] = [str(v) for v in pair] if width == 64 else pair
    extremes["FP32"] = [1.5, -0.0, "Infinity"]
    extremes["FP64"] = [0.1, 1e308, "-Infinity", "NaN"]
    extremes["STRING"] = ["", "radio/TV", "Zürich", "東京", "🚗", "a\u0000b"]
    extremes["BYTES"] = ["", "00ff", "68656c6c6f"]
    cases = [frame(f"one column of {k}", len(v), column("x", k, v)) for k, v in extremes.items()]
    two = column("amount", "FP64", [1169.0, 5951.0]), column("purpose", "STRING", ["radio/TV", "car"])
    return [
        *cases,
        frame("no rows, no columns", 0),
        frame("rows without columns", 3),
        frame("no rows", 0, column("x", "FP64", []), column("s", "STRING", [])),
        frame("columns of two types", 2, *two),
        frame("vectors", 2, column("v", "FP32", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], (3,))),
        frame("matrices, row-major", 1, column("m", "INT16", [[[1, 2, 3], [4, 5, 6]]], (2, 3))),
        frame("shaped strings", 2, column("w", "STRING", [["a", "b"], ["c", ""]], (2,))),
        frame("shape with a zero", 2, column("e", "FP64", [[], []], (0,))),
        frame("shape of one", 2, column("e", "INT8", [[7], [-7]], (1,))),
        frame("name that is not ASCII", 1, column("größe", "INT32", [184])),
        *more_valid_frames(),
    ]


def sample(kind: str) -> list[Any]:
    """Returns two values of a type."""
    return SAMPLES.get(kind, [1, 2])


def more_valid_frames() -> list[Json]:
    """Lists what single languages get wrong: wide integers, odd floats, odd text, shapes of every type."""
    texts = [
        "",
        " ",
        "\t\r\n",
        "\ufeffa",
        "e\u0301",
        "\u00e9",
        "\u202eabc",
        "\U0010ffff",
        "NA",
        "NaN",
        "null",
        "ß" * 300,
    ]
    wide = ["9007199254740992", "9007199254740993", "-9007199254740993", "9223372036854775806"]
    cases = [
        frame("INT64 beyond 2^53", 4, column("x", "INT64", wide)),
        frame("INT64 that R takes for NA", 2, column("x", "INT64", ["-9223372036854775808", "0"])),
        frame("INT32 that R takes for NA", 2, column("x", "INT32", [-2147483648, 0])),
        frame("UINT64 beyond INT64", 3, column("x", "UINT64", ["9223372036854775808", "18446744073709551615", "0"])),
        frame("UINT32 beyond INT32", 2, column("x", "UINT32", [2147483648, 4294967295])),
        frame("smallest and largest FP64", 4, column("x", "FP64", [5e-324, 1.7976931348623157e308, -0.0, "Infinity"])),
        frame("subnormal FP32", 3, column("x", "FP32", [2.0**-149, -(2.0**-126), "-Infinity"])),
        frame("subnormal FP16", 4, column("x", "FP16", [2.0**-24, -(2.0**-14), "Infinity", -0.0])),
        frame("only NaN", 3, column("x", "FP64", ["NaN"] * 3)),
        frame("odd text", len(texts), column("x", "STRING", texts)),
        frame("only empty text", 3, column("x", "STRING", ["", "", ""])),
        frame("bytes that are no UTF-8", 3, column("x", "BYTES", ["ff", "c328", "00"])),
        frame("three dimensions", 1, column("t", "UINT8", [[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]], (2, 2, 2))),
        frame("a zero among dimensions", 2, column("e", "INT32", [[[], []], [[], []]], (2, 0))),
        frame("many columns", 1, *[column(f"c{number}", "FP64", [number / 8]) for number in range(60)]),
        frame("names with spaces and signs", 1, column("a b", "INT8", [1]), column("a.b-c/d", "INT8", [2])),
        frame("names that differ in case", 1, column("x", "INT8", [1]), column("X", "INT8", [2])),
    ]
    for kind in TYPES[1:]:
        pair = sample(kind)
        cases.append(frame(f"vectors of {kind}", 2, column("v", kind, [pair, pair[::-1]], (2,))))
        cases.append(frame(f"{kind} of shape 0", 3, column("v", kind, [[], [], []], (0,))))
    return [*cases, frame("every type at once", 2, *[column(kind.lower(), kind, sample(kind)) for kind in TYPES[1:]])]


def invalid_frames() -> list[Json]:
    """Lists messages that contradict themselves."""
    ok = column("x", "FP64", [1.0, 2.0])
    text = column("s", "STRING", ["a", "b"])
    flag = column("b", "BOOL", [True, False])
    return [
        broken("negative rows", -1, at=""),
        broken("too few bytes", 2, spoilt(ok, values="00" * 15), at="x"),
        broken("too many bytes", 2, spoilt(ok, values="00" * 17), at="x"),
        broken("no values", 2, spoilt(ok, values=""), at="x"),
        broken("too few strings", 3, text, at="s"),
        broken("strings in a column of floats", 2, spoilt(ok, strings=["a", "b"]), at="x"),
        broken("bytes beside strings", 2, spoilt(text, values="00"), at="s"),
        broken("blobs beside strings", 2, spoilt(text, blobs=["00", "01"]), at="s"),
        broken("strings in a column of blobs", 2, {**text, "type": "BYTES"}, at="s"),
        broken("second column is wrong", 2, ok, spoilt(text, strings=["a"]), at="s"),
        broken("two columns of one name", 2, ok, ok, at="x"),
        broken("column without a name", 2, {**ok, "name": ""}, at=""),
        broken("type not set", 2, {**ok, "type": 0}, at="x"),
        broken("unknown type", 2, {**ok, "type": 99}, at="x"),
        broken("BOOL byte 2", 2, spoilt(flag, values="0102"), at="b"),
        broken("negative dimension", 2, {**ok, "shape": [-1]}, at="x"),
        broken("two negative dimensions", 2, {**ok, "shape": [-1, -1]}, at="x"),
        broken("nine dimensions", 2, {**ok, "shape": [1] * 9}, at="x"),
        broken(
            "dimensions whose product is 0 in 64 bits", 2, {**spoilt(ok, values=""), "shape": [1 << 32] * 2}, at="x"
        ),
        broken("rows whose product is 0 in 64 bits", 1 << 61, spoilt(ok, values=""), at="x"),
        broken("bitmap too long", 2, spoilt(ok, missing="0000"), at="x"),
        broken("bitmap too short", 9, spoilt(column("x", "INT8", [0] * 9), missing="01"), at="x"),
        broken("spare bit set", 2, spoilt(ok, missing="04"), at="x"),
        broken("bitmap without rows", 0, spoilt(column("x", "INT8", []), missing="00"), at="x"),
        broken("too many strings", 1, text, at="s"),
        broken("too few blobs", 2, column("d", "BYTES", ["00"]), at="d"),
        broken("blobs in a column of floats", 2, spoilt(ok, blobs=["00", "01"]), at="x"),
        broken("vector with an element too few", 2, {**ok, "shape": [2]}, at="x"),
        broken("elements in a column of shape 0", 2, {**ok, "shape": [0]}, at="x"),
        broken("strings in a column of shape 0", 2, {**text, "shape": [0]}, at="s"),
        broken("BOOL byte 255", 2, spoilt(flag, values="ff00"), at="b"),
        broken("spare bit set in the second byte", 9, spoilt(column("y", "INT8", [0] * 9), missing="0002"), at="y"),
        broken("zeros as a bitmap too long", 8, spoilt(column("y", "INT8", [0] * 8), missing="0000"), at="y"),
        broken("name that is not ASCII", 2, spoilt(column("größe", "INT8", [1, 2]), values="00"), at="größe"),
        broken("dimensions beyond 64 bits", 1, {**spoilt(ok, values=""), "shape": [1 << 62, 4]}, at="x"),
    ]


def missing_cases() -> list[Json]:
    """Lists columns with missing rows, and what joining and slicing makes of their bitmaps."""
    cases = [
        frame("one of one", 1, column("x", "FP64", [None])),
        frame("first and last of nine", 9, column("x", "INT8", [None, 1, 2, 3, 4, 5, 6, 7, None])),
        frame("all of eight", 8, column("x", "BOOL", [None] * 8)),
        frame("missing and NaN are two things", 3, column("x", "FP64", ["NaN", None, 1.0])),
        frame("missing and empty text are two things", 3, column("s", "STRING", ["", None, "a"])),
        frame("missing and empty bytes are two things", 2, column("s", "BYTES", ["", None])),
        frame("a missing vector", 2, column("v", "FP32", [None, [1.0, 2.0]], (2,))),
        frame("a missing vector of text", 2, column("v", "STRING", [["a", "b"], None], (2,))),
    ]
    for kind in TYPES[1:]:
        first, second = sample(kind)
        cases.append(frame(f"missing among {kind}", 3, column("x", kind, [first, None, second])))
        cases.append(frame(f"nothing but missing {kind}", 2, column("x", kind, [None, None])))
        cases.append(frame(f"a missing vector of {kind}", 2, column("x", kind, [None, [first, second]], (2,))))
    cases += [
        frame("missing text, NA as text and empty text", 3, column("s", "STRING", ["NA", None, ""])),
        frame(
            "missing beside the extremes", 3, column("x", "INT64", ["-9223372036854775808", None, "9007199254740993"])
        ),
        frame("bits over three bytes", 17, column("x", "INT8", [None if row % 3 else row for row in range(17)])),
        frame(
            "one column has missing rows, one has none", 2, column("a", "INT8", [None, 1]), column("b", "INT8", [1, 2])
        ),
    ]
    ten = [None if row in {0, 3, 8} else row for row in range(10)]
    spans = ((0, 10), (1, 3), (3, 9), (8, 10), (4, 8), (5, 5))
    cases += [cut(f"rows {start} to {stop} of ten", ten, start, stop) for start, stop in spans]
    parts = ((3, 6), (8, 2), (1, 1, 8), (0, 10))
    cases += [join(f"joined of {' and '.join(map(str, sizes))}", ten, sizes) for sizes in parts]
    cases.append(join("joined, only the second has any", [1, 2, 3, None], (3, 1)))
    return cases


def cut(name: str, values: list[Any], start: int, stop: int) -> Json:
    """Makes a case: rows *start* to *stop* of the first message are the second."""
    before, after = column("x", "INT16", values), column("x", "INT16", values[start:stop])
    return {
        "name": name, "kind": "slice", "start": start, "stop": stop,
        "wire": wire(len(values), [before]), "expected": wire(stop - start, [after]),
    }  # fmt: skip


def join(name: str, values: list[Any], sizes: tuple[int, ...]) -> Json:
    """Makes a case: the messages joined are the last one."""
    parts, first = [], 0
    for size in sizes:
        parts.append(wire(size, [column("x", "INT16", values[first : first + size])]))
        first += size
    return {
        "name": name,
        "kind": "join",
        "parts": parts,
        "expected": wire(first, [column("x", "INT16", values[:first])]),
    }


def nan_cases() -> list[Json]:
    """Lists bit patterns of NaN: each is a number, whatever a language reads into its payload; none is missing."""
    patterns = {
        "FP64": ["7ff8000000000000", "fff8000000000000", "7ff00000000007a2", "7ff80000000007a2", "7ff0000000000001",
                 "ffffffffffffffff", "7fffffffffffffff"],
        "FP32": ["7fc00000", "ffc00000", "7f8007a2", "7f800001", "ffffffff"],
        "FP16": ["7e00", "fe00", "7c01", "ffff"],
    }  # fmt: skip
    cases = []
    for kind, bits in patterns.items():
        one = "3c00" if kind == "FP16" else {"FP32": "3f800000", "FP64": "3ff0000000000000"}[kind]
        rows = [*bits, one, "0" * len(one)]
        raw = b"".join(bytes.fromhex(pattern)[::-1] for pattern in rows)
        gone = [False] * (len(rows) - 1) + [True]
        described = spoilt(column("x", kind, [1.0] * (len(rows) - 1) + [None]), values=raw.hex())
        cases.append({
            "name": f"NaN of every kind in {kind}", "type": kind, "rows": len(rows), "patterns": rows,
            "nan": [True] * len(bits) + [False, False], "missing": gone, "wire": wire(len(rows), [described]),
        })  # fmt: skip
    return cases
