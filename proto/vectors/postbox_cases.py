"""Cases of parcels, their scores, deadlines, names and trace context."""

from wire import Json, column, field, varint, wire

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def parcel(name: str, *items: tuple[str, int, str | None]) -> Json:
    """Makes a case: items (id, rows, error of the score) and whose rows are where, in inputs and outputs."""
    listed, first, scored = [], 0, 0
    for request_id, rows, error in items:
        given = 0 if error else rows
        listed.append({
            "request_id": request_id, "rows": rows, "inputs": [first, first + rows], "error": error,
            "outputs": None if error else [scored, scored + given],
        })  # fmt: skip
        first += rows
        scored += given
    return {"name": name, "items": listed, "input_rows": first, "output_rows": scored}


def parcel_cases() -> list[Json]:
    """Lists parcels: which rows are whose."""
    return [
        parcel("one request of one row", ("a", 1, None)),
        parcel("one request of many rows", ("a", 1000, None)),
        parcel("three requests of one row", ("a", 1, None), ("b", 1, None), ("c", 1, None)),
        parcel("requests of several sizes", ("a", 2, None), ("b", 1, None), ("c", 5, None)),
        parcel("one failed in the middle", ("a", 2, None), ("b", 3, "MODEL_FAILED"), ("c", 1, None)),
        parcel("one expired before the others", ("a", 4, "EXPIRED"), ("b", 1, None)),
        parcel("all failed", ("a", 1, "MODEL_FAILED"), ("b", 2, "MODEL_FAILED")),
        parcel("first and last failed", ("a", 1, "MODEL_FAILED"), ("b", 2, None), ("c", 3, "INVALID_OUTPUT")),
        parcel("every second failed", *[(f"r{n}", n + 1, "MODEL_FAILED" if n % 2 else None) for n in range(8)]),
        parcel("ids of every allowed character", ("A-Z_0-9", 1, None), ("a" * 64, 2, None)),
        parcel("many requests", *[(f"r{n}", 1, None) for n in range(100)]),
    ]


def deadline(name: str, *, stored: int, budget: int, broker_now: int, skew: int, expired: bool) -> Json:
    """Makes a case; *skew*: how far the model's own clock is ahead of the broker's. All in microseconds."""
    sealed = stored - 400
    return {
        "name": name, "sealed_unix_us": str(sealed), "deadline_unix_us": str(sealed + budget),
        "budget_us": budget, "stored_unix_us": str(stored), "broker_now_unix_us": str(broker_now),
        "local_now_unix_us": str(broker_now + skew), "expired": expired,
    }  # fmt: skip


def deadline_cases() -> list[Json]:
    """Lists items and the moments at which they are or are not expired."""
    t, ms, s = 1_760_000_000_000_000, 1_000, 1_000_000
    return [
        deadline("just stored", stored=t, budget=100 * ms, broker_now=t, skew=0, expired=False),
        deadline("a microsecond before", stored=t, budget=100 * ms, broker_now=t + 100 * ms - 1, skew=0, expired=False),
        deadline("at the deadline", stored=t, budget=100 * ms, broker_now=t + 100 * ms, skew=0, expired=True),
        deadline("long after", stored=t, budget=100 * ms, broker_now=t + 60 * s, skew=0, expired=True),
        deadline("own clock 5 s ahead", stored=t, budget=100 * ms, broker_now=t + 2 * ms, skew=5 * s, expired=False),
        deadline("own clock 5 s behind", stored=t, budget=100 * ms, broker_now=t + 3 * s, skew=-5 * s, expired=True),
        deadline("own clock an hour ahead", stored=t, budget=2 * s, broker_now=t + s, skew=3600 * s, expired=False),
        deadline("no budget was left", stored=t, budget=0, broker_now=t, skew=0, expired=True),
        deadline("sealed after its deadline", stored=t, budget=-5 * ms, broker_now=t, skew=0, expired=True),
        deadline("a microsecond after", stored=t, budget=100 * ms, broker_now=t + 100 * ms + 1, skew=0, expired=True),
        deadline("budget of an hour", stored=t, budget=3600 * s, broker_now=t + 3599 * s, skew=0, expired=False),
        deadline("own clock a day behind", stored=t, budget=s, broker_now=t + ms, skew=-86400 * s, expired=False),
        deadline("broker's clock was set back", stored=t, budget=100 * ms, broker_now=t - 2 * s, skew=0, expired=False),
    ]


def item_wire(request_id: str, rows: int, budget_us: int, traceparent: str = "") -> bytes:
    """Encodes a ParcelItem."""
    parts = [field(1, request_id.encode()), b"\x10" + varint(rows), b"\x20" + varint(budget_us)]
    return b"".join([*parts, field(5, traceparent.encode()) if traceparent else b""])


def parcel_wire(items: list[bytes], values: list[int], *, rows: int | None = None) -> str:
    """Encodes a Parcel with one column x INT32; *rows*: what its frame says, where that is wrong."""
    frame = bytes.fromhex(wire(len(values) if rows is None else rows, [column("x", "INT32", values)]))
    head = [field(1, b"01890a5d-ac96-774b-bcce-b302099a8057"), field(2, b"credit"), field(3, b"router")]
    return b"".join([*head, *[field(6, item) for item in items], field(7, frame)]).hex()


Item = tuple[str, list[int], str | None]


def score(name: str, *items: Item, age_us: int = 0, budget_us: int = 10**6, trace: tuple[str, ...] = ()) -> Json:
    """Makes a case: items (id, values, error), the parcel's age at delivery, `traceparent` by item."""
    traces = [*trace, *[""] * (len(items) - len(trace))]
    wires = [item_wire(each[0], len(each[1]), budget_us, text) for each, text in zip(items, traces, strict=True)]
    scored = [value for _, values, error in items if error is None for value in values]
    answered = [
        {
            "request_id": request_id,
            "rows": 0 if error else len(values),
            "error": error,
            "traceparent": text if text == TRACEPARENT else "",
        }
        for (request_id, values, error), text in zip(items, traces, strict=True)
    ]
    return {
        "name": name, "kind": "scored", "age_us": age_us, "items": answered,
        "parcel": parcel_wire(wires, [value for _, values, _ in items for value in values]),
        "outputs": wire(len(scored), [column("y", "INT32", scored)]) if scored else "",
    }  # fmt: skip


def malformed(name: str, message: str) -> Json:
    """Makes a case: this message on `input` must be taken off the postbox and never scored."""
    return {"name": name, "kind": "malformed", "parcel": message}


def score_cases() -> list[Json]:
    """Lists parcels and their scores by a model that gives y = x.

    It raises on a table with a negative x, and gives one row fewer for a table with an x of 1000 or more.
    """
    bad, wrong = "MODEL_FAILED", "INVALID_OUTPUT"
    many: list[Item] = [(f"r{n}", [n, n + 1], None) for n in range(20)]
    a, b = item_wire("a", 1, 10**6), item_wire("b", 2, 10**6)
    return [
        score("one request", ("a", [7], None)),
        score("three requests", ("a", [1, 2], None), ("b", [3], None), ("c", [4, 5, 6], None)),
        score("twenty requests", *many),
        score("one bad row fails alone", ("a", [1, 2], None), ("b", [3, -1], bad), ("c", [4], None)),
        score("two bad of twenty", *[(i, [-1, *v[1:]], bad) if i in {"r3", "r11"} else (i, v, e) for i, v, e in many]),
        score("all bad", ("a", [-1], bad), ("b", [-2, -3], bad)),
        score("a wrong output fails alone", ("a", [1], None), ("b", [1000], wrong), ("c", [2], None)),
        score("a bad row and a wrong output", ("a", [1000], wrong), ("b", [-1], bad), ("c", [2], None)),
        score("all expired", ("a", [1], "EXPIRED"), ("b", [2], "EXPIRED"), age_us=1_000_000),
        score("a microsecond before expiry", ("a", [1], None), ("b", [2], None), age_us=999_999),
        score("one bad row, traced", ("a", [1], None), ("b", [-1], bad), trace=(TRACEPARENT, TRACEPARENT)),
        score("malformed and no trace context", ("a", [1], None), ("b", [2], None), trace=(TRACEPARENT.upper(), "")),
        {**score("one expired, one not", ("a", [1], "EXPIRED"), ("b", [2], None), age_us=100_000),
         "parcel": parcel_wire([item_wire("a", 1, 50_000), item_wire("b", 1, 10**6)], [1, 2])},
        {**score("expired, bad and good", ("a", [1], "EXPIRED"), ("b", [-2], bad), ("c", [3], None), age_us=100_000),
         "parcel": parcel_wire([item_wire("a", 1, 0), item_wire("b", 1, 10**6), item_wire("c", 1, 10**6)], [1, -2, 3])},
        malformed("no protobuf", "ff" * 20),
        malformed("cut short", parcel_wire([a, b], [1, 2, 3])[:-6]),
        malformed("items have fewer rows than the frame", parcel_wire([a], [1, 2])),
        malformed("items have more rows than the frame", parcel_wire([a, b], [1, 2])),
        malformed("an item without rows", parcel_wire([a, item_wire("b", 0, 10**6)], [1])),
        malformed("an item with negative rows", parcel_wire([item_wire("a", 3, 1), item_wire("b", -1, 1)], [1, 2])),
        malformed("no items", parcel_wire([], [1])),
    ]  # fmt: skip


def name_cases() -> list[Json]:
    """Lists what may be a name and a version, and what is made of names."""
    right = ["a", "Z", "0", "_", "-", "a-b_C9", "a" * 64, "018f2d3c-7b1a-7c3d-9e4f-0123456789ab"]
    wrong = ["", "a" * 65, "a.b", "a b", " a", "a\n", "a*", ">", "a>b", "ä", "a/b", "a\u0000", "a$", "a:b", "\uff41"]
    cases = [{"name": f"name {text!a}", "kind": "name", "value": text, "valid": True} for text in right]
    cases += [{"name": f"name {text!a}", "kind": "name", "value": text, "valid": False} for text in wrong]
    versions = {"1": "1", "1.0.3": "1-0-3", "2026-11-22": "2026-11-22", "v1_a": "v1_a", ".": "-", "1..2": "1--2"}
    cases += [
        {"name": f"version {text!a}", "kind": "version", "value": text, "valid": True, "token": token}
        for text, token in versions.items()
    ]
    cases += [
        {"name": f"version {text!a}", "kind": "version", "value": text, "valid": False, "token": ""}
        for text in ("", "1 0", "1*", "1>", "1/0", "ü", "1" * 65, "1\n")
    ]
    return [*cases, addresses("credit", "tree", "1.0"), addresses("E_2-x", "m-1_B", "2026.11-rc.1")]


def addresses(endpoint: str, model: str, version: str) -> Json:
    """Makes a case: subjects, streams, consumer, keys and header of one model."""
    token, parcel_id = version.replace(".", "-"), "01890a5d-ac96-774b-bcce-b302099a8057"
    return {
        "name": f"addresses of {endpoint}/{model}:{version}", "kind": "addresses",
        "endpoint": endpoint, "model": model, "version": version, "router": "router-1", "replica": "host-17-ab",
        "parcel_id": parcel_id,
        "subjects": {
            "raw": f"rv.{endpoint}.raw", "raw_of_stage_2": f"rv.{endpoint}.raw.2",
            "raw_of_later_stages": f"rv.{endpoint}.raw.*", "input": f"rv.{endpoint}.input",
            "decision": f"rv.{endpoint}.decision", "feedback": f"rv.{endpoint}.feedback",
            "score": f"rv.{endpoint}.score.{model}.router-1",
            "scores_of_router": "rv.*.score.*.router-1", "scores_of_endpoint": f"rv.{endpoint}.score.>",
        },
        "streams": {"durable": f"RV_{endpoint}", "scores": f"RV_{endpoint}_SCORES"},
        "consumer": f"{model}__{token}",
        "keys": {
            "rv_endpoints": endpoint, "rv_models": f"{endpoint}.{model}.{token}",
            "rv_replicas": f"{endpoint}.{model}.{token}.host-17-ab", "rv_routers": "router-1",
        },
        "headers": {"Nats-Msg-Id": parcel_id},
        "raw_message_ids": [f"{parcel_id}.raw", f"{parcel_id}.raw.2"],
    }  # fmt: skip


def trace_cases() -> list[Json]:
    """Lists values of `traceparent`, and whether W3C's recommendation calls them well-formed."""
    good, ones = TRACEPARENT, "-".join(["00", "1" * 32, "1" * 16, "00"])
    trace, span = good.split("-")[1:3]
    listed = [
        ("sampled", good, True), ("not sampled", good[:-1] + "0", True), ("all flags", good[:-2] + "ff", True),
        ("all ones", ones, True), ("later version", "01" + good[2:], True),
        ("later version with more parts", "cc" + good[2:] + "-what-the-future-brings", True),
        ("empty", "", False), ("version ff", "ff" + good[2:], False),
        ("version 00 with more parts", good + "-00", False),
        ("upper case", good.upper(), False), ("trace id of zeros", f"00-{'0' * 32}-{span}-01", False),
        ("span id of zeros", f"00-{trace}-{'0' * 16}-01", False), ("too short", good[:-1], False),
        ("too long", good + "0", False), ("later version, no dash", "01" + good[2:] + "00", False),
        ("no hexadecimal", good.replace("a", "g"), False), ("underscores", good.replace("-", "_"), False),
        ("space before", " " + good, False), ("line feed after", good + "\n", False), ("words", "not a trace", False),
        ("short trace id", f"00-{trace[1:]}-{span}-01", False), ("missing flags", f"00-{trace}-{span}", False),
    ]  # fmt: skip
    return [{"name": name, "traceparent": text, "well_formed": ok} for name, text, ok in listed]
