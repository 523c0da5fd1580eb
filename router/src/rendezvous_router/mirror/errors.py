"""Why a mirror cannot begin or go on; what was copied stays, and the next start goes on behind it."""

__all__ = ["MirrorError"]


class MirrorError(RuntimeError):
    """The message says what to do."""
