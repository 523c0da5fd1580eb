"""Models compared on the same requests, from the archive: `rendezvous compare`.

`compare` asks the archive and returns a `Comparison`; `rendezvous_router.compare.text` shows it on a terminal, and
`rendezvous_router.compare.page` as one HTML file. Source: ADR 0024.
"""

from rendezvous_router.compare.comparing import compare
from rendezvous_router.compare.question import CompareError, Question
from rendezvous_router.compare.results import Comparison

__all__ = ["CompareError", "Comparison", "Question", "compare"]
