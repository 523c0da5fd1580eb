"""The archive of requests, scores, decisions and feedback: where it is, what belongs to it, what its columns mean.

`open_archive` asks it questions; it needs the extra `rendezvous-sdk[archive]`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rendezvous_sdk.archive.reader import Archive, open_archive

__all__ = ["Archive", "open_archive"]


def __getattr__(name: str) -> Any:  # of a module
    # Who only writes an archive shall not wait for DuckDB.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from rendezvous_sdk.archive import reader  # noqa: PLC0415 # as said
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rendezvous"):
            raise
        raise ImportError(
            f"the archive needs {error.name}; install it with: pip install 'rendezvous-sdk[archive]'"
        ) from error
    return getattr(reader, name)
