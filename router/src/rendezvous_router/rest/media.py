"""Media types: what a body is, and what its answer is to be."""

from collections.abc import Sequence

from rendezvous_proto.errors import InvalidRequestError

from rendezvous_router.rest.problems import HttpFaultError

__all__ = ["ARROW_FILE", "ARROW_STREAM", "CSV", "JSON", "MEDIA", "choose_answer", "media_of_body"]

JSON = "application/json"
CSV = "text/csv"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
MEDIA = (JSON, CSV, ARROW_STREAM, ARROW_FILE)
"""What bodies may be, and answers."""


def media_of_body(content_type: str | None) -> str:
    """Returns the media type of a body.

    Raises:
        HttpFaultError: 415, it is none that is taken.
    """
    if content_type == JSON:
        return JSON
    media, *parameters = (part.strip().lower() for part in (content_type or "").split(";"))
    charset = next((part[8:].strip('"') for part in parameters if part.startswith("charset=")), "utf-8")
    if media in MEDIA and charset in ("utf-8", "us-ascii"):
        return media
    found = f"Content-Type {content_type[:80]!r} is not taken" if content_type else "there is no Content-Type"
    raise HttpFaultError(
        415,
        InvalidRequestError(f"{found}: use one of {', '.join(MEDIA)}, in UTF-8", {"known": ",".join(MEDIA)}),
        [("accept", ", ".join(MEDIA))],
    )


def choose_answer(accept: str | None, offers: Sequence[str]) -> str:
    """Returns the media type that a client wants most; the first where it does not care.

    Args:
        accept: the header; None: there is none.
        offers: what there is, the best first.

    Raises:
        HttpFaultError: 406, it takes none of them.
    """
    if accept is None or accept in ("", "*/*"):
        return offers[0]
    if accept in offers:
        return accept
    ranges = [_parse_range(part) for part in accept.lower().split(",")]
    best, best_quality = "", 0.0
    for offer in offers:
        matching = [(rank, quality) for media, quality in ranges if (rank := _rank(media, offer))]
        quality = max(matching)[1] if matching else 0.0
        if quality > best_quality:
            best, best_quality = offer, quality
    if not best:
        raise HttpFaultError(
            406,
            InvalidRequestError(
                f"Accept {accept[:80]!r} takes none of what there is: {', '.join(offers)}",
                {"known": ",".join(offers)},
            ),
        )
    return best


def _parse_range(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media, min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return media, 0.0
    return media, 1.0


def _rank(media: str, offer: str) -> int:
    """How closely a media range names an offer; 0: not at all."""
    if media == offer:
        return 3
    if media.endswith("/*") and media != "*/*" and offer.startswith(media[:-1]):
        return 2
    return int(media == "*/*")
