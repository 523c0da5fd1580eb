"""Cases of errors: the closed list, and what a client makes of a failed call."""

from wire import Json, field, varint


def error_cases() -> list[Json]:
    """Lists every code: number, name, retryable, gRPC status and its number, HTTP status."""
    rows = [
        (1, "INVALID_REQUEST", False, "INVALID_ARGUMENT", 3, 400),
        (2, "INVALID_FRAME", False, "INVALID_ARGUMENT", 3, 400),
        (3, "SIGNATURE_MISMATCH", False, "INVALID_ARGUMENT", 3, 400),
        (4, "TOO_LARGE", False, "INVALID_ARGUMENT", 3, 413),
        (5, "UNKNOWN_ENDPOINT", False, "NOT_FOUND", 5, 404),
        (6, "UNKNOWN_MODEL", False, "NOT_FOUND", 5, 404),
        (7, "REQUEST_ID_CONFLICT", False, "ALREADY_EXISTS", 6, 409),
        (8, "INVALID_SPEC", False, "INVALID_ARGUMENT", 3, 400),
        (9, "EXPIRED", False, "DEADLINE_EXCEEDED", 4, 504),
        (10, "NO_ANSWER", True, "DEADLINE_EXCEEDED", 4, 504),
        (11, "OVERLOADED", True, "RESOURCE_EXHAUSTED", 8, 429),
        (12, "UNAVAILABLE", True, "UNAVAILABLE", 14, 503),
        (13, "MODEL_FAILED", False, "INTERNAL", 13, 500),
        (14, "INVALID_OUTPUT", False, "INTERNAL", 13, 502),
        (15, "UNAUTHENTICATED", False, "UNAUTHENTICATED", 16, 401),
        (16, "PERMISSION_DENIED", False, "PERMISSION_DENIED", 7, 403),
        (17, "UNIMPLEMENTED", False, "UNIMPLEMENTED", 12, 501),
        (18, "INTERNAL", False, "INTERNAL", 13, 500),
    ]
    keys = ("code", "name", "retryable", "grpc_status", "grpc_code", "http_status")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def error_wire(code: int, message: str, **attributes: str) -> str:
    """Encodes an Error."""
    parts = [b"\x08" + varint(code) if code else b"", field(2, message.encode()) if message else b""]
    parts += [field(3, field(1, key.encode()) + field(2, value.encode())) for key, value in attributes.items()]
    return b"".join(parts).hex()


def status(name: str, grpc: tuple[int, str], error: str, expected: str, *, retryable: bool = False) -> Json:
    """Makes a case: a failed call's status, details, `rendezvous-error-bin` (empty: none), and the code it is."""
    return {
        "name": name, "grpc_code": grpc[0], "details": grpc[1], "error_bin": error,
        "code": expected, "message": grpc[1], "retryable": retryable,
    }  # fmt: skip


def status_cases() -> list[Json]:
    """Lists failed calls: the metadata's code counts, an unknown one is INTERNAL, and without it the status does."""
    cases = [
        status(
            f"{row['name']} in the metadata", (row["grpc_code"], f"why {row['code']}"),
            error_wire(row["code"], f"why {row['code']}", column="x"), row["name"], retryable=row["retryable"],
        )
        for row in error_cases()
    ]  # fmt: skip
    return [
        *cases,
        status("a code of the future", (13, "new"), error_wire(99, "new"), "INTERNAL"),
        status("a code of the future, status says retry", (14, "new"), error_wire(99, "new"), "INTERNAL"),
        status("status and metadata differ", (2, "odd"), error_wire(11, "odd"), "OVERLOADED", retryable=True),
        status("no metadata: UNAVAILABLE", (14, "connection refused"), "", "UNAVAILABLE", retryable=True),
        status("no metadata: UNAUTHENTICATED", (16, "who"), "", "UNAUTHENTICATED"),
        status("no metadata: PERMISSION_DENIED", (7, "no"), "", "PERMISSION_DENIED"),
        status("no metadata: UNIMPLEMENTED", (12, "unknown method"), "", "UNIMPLEMENTED"),
        status("no metadata: UNKNOWN", (2, "boom"), "", "INTERNAL"),
        status("garbage as metadata", (14, "gone"), "ffff", "UNAVAILABLE", retryable=True),
    ]
