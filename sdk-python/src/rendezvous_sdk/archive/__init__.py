"""The archive of requests, scores, decisions and feedback: where it is, what belongs to it, what its columns mean.

`open_archive` asks it questions; it needs the extra `rendezvous-sdk[archive]`.
"""

try:
    from rendezvous_sdk.archive.reader import Archive, open_archive
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("rendezvous"):
        raise
    raise ImportError(
        f"the archive needs {error.name}; install it with: pip install 'rendezvous-sdk[archive]'"
    ) from error

__all__ = ["Archive", "open_archive"]
