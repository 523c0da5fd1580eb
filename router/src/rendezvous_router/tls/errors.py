"""What goes wrong with certificates and addresses before anything is served."""

__all__ = ["TlsError"]


class TlsError(RuntimeError):
    """Files, or the way they are to be used, do not do; the message says which, why and what to do."""
