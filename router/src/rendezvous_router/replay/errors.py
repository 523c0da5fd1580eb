"""Why a replay ends early; what it has written by then stays, and `--resume` goes on behind it."""

__all__ = ["CandidateGoneError", "ReplayError"]


class ReplayError(RuntimeError):
    """The replay cannot begin or go on; the message says what to do."""


class CandidateGoneError(ReplayError):
    """The candidate does not answer: what it was asked is not its failure, and is not recorded."""
