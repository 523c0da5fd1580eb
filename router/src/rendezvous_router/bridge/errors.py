"""What can be wrong with a bridge before it serves."""

__all__ = ["BridgeError", "FarSilentError", "FarWaitError"]


class BridgeError(ValueError):
    """The bridge cannot be what it was asked to be: address, scheme, mapping, a model that is not there.

    Waiting would not help; the message says what is wrong and what to do.
    """


class FarWaitError(RuntimeError):
    """The far side is not there, or not ready; it may be later. The message says what is waited for."""


class FarSilentError(FarWaitError):
    """The far side did not say how it is within the time given: it is busy, or gone without a word."""
