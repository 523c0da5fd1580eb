"""Where things are in an archive: one root, hive-style folders, a manifest beside them. No file is opened here.

```
<root>/tenant=<t>/endpoint=<e>/kind=<k>/day=<YYYY-MM-DD>/<source>.<generation>.<first>-<last>.<part>.parquet
<root>/tenant=<t>/endpoint=<e>/_manifest/<source>/<generation>.<first>-<last>.json
```

Source: ADR 0021.
"""

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow.fs as pafs
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.postbox import check_name

__all__ = [
    "DEFAULT_TENANT",
    "DURABLE",
    "KINDS",
    "SCORES",
    "ArchiveRoot",
    "Generation",
    "day_of",
    "endpoint_folder",
    "entry_name",
    "file_name",
    "is_url",
    "kind_folder",
    "manifest_folder",
    "parse_entry_name",
    "parse_file_name",
    "replay_source",
    "shown_root",
]

KINDS = ("inputs", "raw", "scores", "enrichments", "decisions", "feedback")
"""What is kept, each in a folder of its own."""

DEFAULT_TENANT = "default"
"""Tenant of an installation without tenants."""

DURABLE = "durable"
"""Source: the stream that holds inputs, decisions and feedback."""

SCORES = "scores"
"""Source: the stream that holds the scores."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_GENERATION = re.compile(r"(\d{16,})-(\d{4,})-(\d+)")
_ENTRY = re.compile(r"(?P<generation>\d+-\d+-\d+)\.(?P<first>\d+)-(?P<last>\d+)\.json")
_FILE = re.compile(
    r"(?P<source>[A-Za-z0-9_-]+)\.(?P<generation>\d+-\d+-\d+)\.(?P<first>\d+)-(?P<last>\d+)\."
    r"(?P<part>[A-Za-z0-9_-]+)\.parquet"
)
_EPOCH = dt.date(1970, 1, 1)
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class ArchiveRoot:
    """A folder on some file system that Arrow reaches; made by `parse`."""

    filesystem: pafs.FileSystem
    """The file system."""
    path: str
    """Path of the root on it, without a slash at the end."""
    text: str
    """As it was given, for messages, without the parts of a URL that may be secrets."""

    @classmethod
    def parse(cls, root: "str | Path | ArchiveRoot") -> "ArchiveRoot":
        """Opens a root by its path or URL; nothing is read or made.

        Args:
            root: a local path, or a URL that `pyarrow.fs.FileSystem.from_uri` takes (`s3://bucket/prefix`).

        Raises:
            InvalidRequestError: the URL is malformed, or its scheme is not supported.
        """
        if isinstance(root, ArchiveRoot):
            return root
        if not is_url(root):
            path = Path(root).absolute()
            return cls(pafs.LocalFileSystem(), str(path), str(root))
        shown = shown_root(str(root))
        try:
            filesystem, path = pafs.FileSystem.from_uri(str(root))
        except (OSError, ValueError, NotImplementedError) as error:
            raise InvalidRequestError(
                f"the archive {shown!r} cannot be opened: use a folder, or a URL such as s3://bucket/prefix, gs://..., "
                "abfs://..., hdfs://...",
                {"archive": shown},
            ) from error
        return cls(filesystem, path.rstrip("/"), shown)

    @property
    def is_local(self) -> bool:
        """Whether files can be flushed and locked by this machine's operating system."""
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def at(self, relative: str) -> str:
        """Returns the path, on the file system, of something below the root."""
        return f"{self.path}/{relative}"


def shown_root(root: str) -> str:
    """Returns a root as messages and processes may show it: a URL without user, password and options."""
    if not is_url(root):
        return root
    scheme, _, rest = root.partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def is_url(root: str | Path) -> bool:
    """Returns whether a root is a URL, not a path of this machine."""
    return isinstance(root, str) and _SCHEME.match(root) is not None


@dataclass(frozen=True, slots=True, order=True)
class Generation:
    """One stream under a source's name; another begins with another stream, or where a stream lost its end.

    Written `<created_us>-<number>-<begin>`. Generations of one source are ordered by creation and number.
    """

    created_unix_us: int
    """When the stream was created, microseconds since 1970-01-01 UTC; of a replay: that of the inputs."""
    number: int = 1
    """1, and one more each time that the stream lost its end."""
    begin: int = 1
    """First sequence that this generation holds: all before it is in an earlier one."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the generation of its text.

        Raises:
            ValueError: it is none.
        """
        match = _GENERATION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no generation: <created_us>-<number>-<begin>")
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.created_unix_us:016d}-{self.number:04d}-{self.begin}"


def replay_source(run: str) -> str:
    """Returns the source of the scores of a replay."""
    return f"replay-{check_name('run', run)}"


def endpoint_folder(tenant: str, endpoint: str) -> str:
    """Returns the folder of an endpoint, relative to the root.

    Raises:
        InvalidRequestError: a name is not allowed.
    """
    return f"tenant={check_name('tenant', tenant)}/endpoint={check_name('endpoint', endpoint)}"


def kind_folder(tenant: str, endpoint: str, kind: str) -> str:
    """Returns the folder of a kind, relative to the root."""
    return f"{endpoint_folder(tenant, endpoint)}/kind={kind}"


def manifest_folder(tenant: str, endpoint: str, source: str | None = None) -> str:
    """Returns the folder of a source's manifest, relative to the root; without a source, that of all of them."""
    folder = f"{endpoint_folder(tenant, endpoint)}/_manifest"
    return folder if source is None else f"{folder}/{source}"


def day_of(stored_unix_us: int) -> str:
    """Returns the UTC day of a moment, `YYYY-MM-DD`."""
    return (_EPOCH + dt.timedelta(days=stored_unix_us // _DAY_US)).isoformat()


def entry_name(generation: str, first: int, last: int) -> str:
    """Returns the file name of a manifest entry; by name, entries of a source are in order."""
    return f"{generation}.{first:012d}-{last:012d}.json"


def parse_entry_name(name: str) -> tuple[str, int, int] | None:
    """Returns (generation, first, last) of an entry's file name; None: it is not an entry's."""
    match = _ENTRY.fullmatch(name)
    return None if match is None else (match["generation"], int(match["first"]), int(match["last"]))


def file_name(source: str, generation: str, first: int, last: int, part: str = "0") -> str:
    """Returns the name of a Parquet file.

    Args:
        source: where its messages came from.
        generation: of the source.
        first: first sequence of its entry.
        last: last sequence of its entry.
        part: tells files of one entry, kind and day apart, and a rewritten file from the one it replaces.
    """
    return f"{source}.{generation}.{first:012d}-{last:012d}.{part}.parquet"


def parse_file_name(name: str) -> tuple[str, str, int, int, str] | None:
    """Returns (source, generation, first, last, part) of a Parquet file's name; None: it is not one of ours."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    return match["source"], match["generation"], int(match["first"]), int(match["last"]), match["part"]
