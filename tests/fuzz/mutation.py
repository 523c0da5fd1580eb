"""Bytes made of good ones: cut, doubled, overwritten, with what parsers dislike put in. For Hypothesis."""

from collections.abc import Sequence

from hypothesis import strategies as st

__all__ = ["mutated"]

TOKENS = (
    *(b"\0", b"\xff", b"\x7f", b"\x80", b"\xff" * 4, b"\xff" * 8 + b"\x7f", b"\xff" * 9 + b"\x01", b"\x80" * 10),
    *(b"[", b"]", b"{", b"}", b'"', b":", b",", b"\\", b"\\u0000", b"\\ud800", b"\n", b"\r\n", b"'", b"&a ", b"*a"),
    *(b"0", b"-1", b"-0", b"1e999", b"9" * 25, b"0" * 30, b"NaN", b"Infinity", b"null", b"true", b"1.5", b"2147483648"),
    *(b"[" * 40, b"{" * 40, b"[" * 1200, b'{"a":' * 1200, b"9" * 5000, b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
)
_EDIT = st.tuples(
    st.sampled_from(("insert", "overwrite", "delete", "double", "cut", "flip")),
    st.integers(0, 1 << 16),
    st.integers(1, 64),
    st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=8)),
)


def mutated(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Returns a strategy of bytes like *seeds*, and of others."""
    edits = st.lists(_EDIT, min_size=1, max_size=6)
    return st.one_of(st.builds(_apply, st.sampled_from(seeds), edits), st.builds(_apply, st.binary(max_size=64), edits))


def _apply(octets: bytes, edits: Sequence[tuple[str, int, int, bytes]]) -> bytes:
    for kind, place, size, token in edits:
        at = place % (len(octets) + 1)
        before, there, after = octets[:at], octets[at : at + size], octets[at + size :]
        if kind == "insert":
            octets = before + token + there + after
        elif kind == "overwrite":
            octets = before + token + octets[at + len(token) :]
        elif kind == "delete":
            octets = before + after
        elif kind == "double":
            octets = before + there + there + after
        elif kind == "cut":
            octets = before
        elif octets[at : at + 1]:
            octets = before + bytes([octets[at] ^ 1 << size % 8]) + octets[at + 1 :]
    return octets
