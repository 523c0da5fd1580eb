"""Asking the record: an archive as DuckDB views, and as Arrow, pandas and Polars tables.

```python
from rendezvous_sdk.archive import open_archive

with open_archive("archive", since=week_ago) as archive:
    archive.sql("SELECT model, avg(late::INT) FROM scores GROUP BY model").df()
```

Source: docs/record.md, ADR 0022.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
from rendezvous_proto.errors import InvalidRequestError, UnknownEndpointError

from rendezvous_sdk.archive.layout import DEFAULT_TENANT, KINDS, ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchiveError, list_endpoints, list_tenants
from rendezvous_sdk.archive.schema import FIXED
from rendezvous_sdk.archive.sources import KindFiles, Span, find_files
from rendezvous_sdk.archive.sql_text import SCHEME, add_suffix, name, texts
from rendezvous_sdk.archive.views import VIEWS, EndpointViews

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow.dataset as pads

__all__ = ["Archive", "open_archive"]

_INSTALL = "install it with: pip install 'rendezvous-sdk[{}]'"
_DUCKDBS_OWN = {"information_schema", "pg_catalog", "main", "temp", "system", "memory"}


def open_archive(
    root: str | Path | ArchiveRoot = "archive",
    *,
    tenant: str = DEFAULT_TENANT,
    endpoint: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> "Archive":
    """Opens an archive for questions, as of now: what is archived later is seen after `Archive.refresh`.

    Only files that the manifest's current entries name are read, and of these none before they are asked for.

    Args:
        root: folder, or a URL that `pyarrow.fs.FileSystem.from_uri` takes (`s3://bucket/prefix`).
        tenant: whose record; default: `default`, that of an installation without tenants.
        endpoint: which endpoint's views need no prefix; None: the only one, if there is one.
        since: requests stored from then on, by the broker's clock; None: from the first. Without a time zone: UTC.
        until: requests stored before; None: to the last. Without a time zone: UTC.

    Returns:
        The archive; close it, or use it as a context manager.

    Raises:
        ImportError: DuckDB is not installed; names the extra.
        InvalidRequestError: the URL or a name is malformed, or the time ends before it begins.
        ArchiveError: there is no archive, or it cannot be read.
        UnknownEndpointError: it has no such endpoint.
    """
    span = Span(_in_utc(since), _in_utc(until))
    if span.since is not None and span.until is not None and span.since >= span.until:
        raise InvalidRequestError(f"the time asked for is empty: {span.since} does not lie before {span.until}")
    return Archive(ArchiveRoot.parse(root), tenant, endpoint, span)


class Archive:
    """An archive as DuckDB views: a schema for each endpoint; without a prefix, the views of the chosen endpoint.

    Views: `inputs`, `raw`, `scores`, `enrichments`, `decisions`, `feedback`, `answers` and `outcomes`; docs/record.md
    tells their columns. Not thread-safe; for other threads use `connection.cursor()`. Made by `open_archive`.
    """

    def __init__(self, root: ArchiveRoot, tenant: str, endpoint: str | None, span: Span) -> None:
        self._root = root
        self._tenant = tenant
        self._span = span
        self._chosen = endpoint
        self._files: dict[str, dict[str, KindFiles]] = {}
        self._connection = _connect(root)
        try:
            self.refresh()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes DuckDB; results that were not fetched are gone."""
        if not self._root.is_local:
            from rendezvous_sdk.archive.object_store import ArchiveFiles  # noqa: PLC0415 # with the extra only

            if ArchiveFiles.protocol in self._connection.list_filesystems():
                self._connection.unregister_filesystem(ArchiveFiles.protocol)
        self._connection.close()

    @property
    def connection(self) -> "duckdb.DuckDBPyConnection":
        """The connection to DuckDB, in memory; yours to use: tables made on it are gone when it is closed."""
        return self._connection

    @property
    def endpoints(self) -> list[str]:
        """The tenant's endpoints in the archive, in order."""
        return list(self._files)

    @property
    def endpoint(self) -> str | None:
        """The endpoint whose views need no prefix; None: there are several, and none was chosen."""
        return self._chosen or (next(iter(self._files)) if len(self._files) == 1 else None)

    @property
    def kinds(self) -> dict[str, int]:
        """Rows of each kind that the endpoint's files have, from the manifest: whole files, repeats counted.

        Raises:
            InvalidRequestError: there are several endpoints, and none was chosen.
        """
        return {kind: found.rows for kind, found in self._chosen_files().items() if found.groups}

    def files(self, kind: str | None = None) -> list[str]:
        """Returns the endpoint's current files: absolute paths, or URLs where the archive has one.

        Args:
            kind: of which kind; None: of all.

        Raises:
            InvalidRequestError: there is no such kind; or several endpoints, and none was chosen.
        """
        found = self._chosen_files()
        kinds = KINDS if kind is None else [_known(kind, KINDS)]
        paths = [path for each in kinds for path in found[each].paths]
        if self._root.is_local:
            return paths
        return [self._root.text.rstrip("/") + path.removeprefix(self._root.path) for path in paths]

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> "duckdb.DuckDBPyRelation":
        """Asks in SQL.

        Args:
            query: DuckDB's SQL.
            params: values of `?`, `$1` or `$name` in it; None: there are none.

        Returns:
            A relation, computed when it is fetched: by `.df()` (pandas), `.pl()` (Polars), `.to_arrow_table()`,
            `.to_arrow_reader()` (in batches), `.fetchall()`.

        Raises:
            duckdb.Error: the query is wrong, or a file has gone: see `refresh`.
        """
        return self._connection.sql(query) if params is None else self._connection.sql(query, params=params)

    def arrow(self, view: str) -> pa.Table:
        """Returns all rows of a view as an Arrow table, in memory: where that is too much, see `dataset` and `sql`."""
        return self._relation(view).to_arrow_table()

    def dataset(self, kind: str) -> "pads.Dataset":
        """Returns the files of a kind as an Arrow dataset: read in pieces, and bit for bit as archived.

        Whole files: the time asked for leaves out days, not rows. Columns whose type changed have the wider type, or
        text where no type holds both.

        Raises:
            InvalidRequestError: there is no such kind; or several endpoints, and none was chosen.
        """
        import pyarrow.dataset as pads  # noqa: PLC0415 # brings pandas along

        found = self._chosen_files()[_known(kind, KINDS)]
        schema = _common_schema([FIXED[kind], *(group.schema for group in found.groups)])
        if not found.groups:
            return pads.InMemoryDataset(schema.empty_table())
        return pads.dataset(found.paths, schema=schema, filesystem=self._root.filesystem, format="parquet")

    def pandas(self, view: str) -> "pd.DataFrame":
        """Returns all rows of a view as a pandas table, in memory.

        Raises:
            ImportError: pandas is not installed; names the extra.
            InvalidRequestError: there is no such view; or several endpoints, and none was chosen.
        """
        _check_installed("pandas")
        table: pd.DataFrame = self.arrow(view).to_pandas(maps_as_pydicts="lossy")
        return table

    def polars(self, view: str) -> "pl.LazyFrame":
        """Returns a view as a lazy Polars table: columns and rows that are filtered out are not read.

        Raises:
            ImportError: Polars is not installed; names the extra.
            InvalidRequestError: there is no such view; or several endpoints, and none was chosen.
        """
        _check_installed("polars")
        lazy: pl.LazyFrame = self._relation(view).pl(lazy=True)
        return lazy

    def refresh(self) -> None:
        """Reads the manifest again: what has been archived, compacted or removed since is seen, or gone.

        Raises:
            ArchiveError: there is no archive, or it cannot be read.
            UnknownEndpointError: the endpoint that was chosen is not there.
        """
        self._files = self._find()
        self._make_views(self._connection, set())

    def write_database(self, path: str | Path) -> None:
        """Writes a DuckDB file with the views as they are now, for DuckDB's own tools: no rows, only where they are.

        Args:
            path: the file; views of the same names in it are replaced.

        Raises:
            InvalidRequestError: the archive is on an object store, which DuckDB reaches through this library only.
            duckdb.Error: the file is no DuckDB file, or cannot be written.
        """
        if not self._root.is_local:
            raise InvalidRequestError(
                f"a DuckDB file can only have views of files on this machine, not of {self._root.text}: use `sql`"
            )
        with _connect(self._root, str(path)) as connection:
            self._make_views(connection, {Path(path).stem.lower()})

    def _make_views(self, connection: "duckdb.DuckDBPyConnection", taken: set[str]) -> None:
        fixed_types = {kind: _types(connection, FIXED[kind]) for kind in KINDS}
        taken = taken | _DUCKDBS_OWN
        for endpoint, files in self._files.items():
            schema = name(add_suffix(endpoint, taken))
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            views = EndpointViews(schema, files, self._span, fixed_types=fixed_types, is_local=self._root.is_local)
            queries = views.queries()
            for macro, paths in views.lists.items():
                _list_files(connection, macro, paths[:1])
            for view, query in queries.items():
                connection.execute(f"CREATE OR REPLACE VIEW {schema}.{name(view)} AS {query}")
            for view in VIEWS if endpoint == self.endpoint else ():
                connection.execute(f"CREATE OR REPLACE VIEW main.{name(view)} AS FROM {schema}.{name(view)}")
            # Only now: DuckDB looks at the whole list whenever a view is made of it, and one file has all the columns.
            for macro, paths in views.lists.items():
                _list_files(connection, macro, paths)

    def lock(self, also: Sequence[str | Path] = ()) -> None:
        """Lets queries open the archive's current files and no others, for good: for queries of somebody else's.

        They can still make tables in memory, and write to what they may open: see DuckDB's guide on securing it.

        Args:
            also: files that may be opened, too.
        """
        prefix = "" if self._root.is_local else SCHEME
        paths = [prefix + path for files in self._files.values() for kind in files.values() for path in kind.paths]
        self._connection.execute("SET allowed_paths = $1", [[*paths, *map(str, also)]])
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def _find(self) -> dict[str, dict[str, KindFiles]]:
        tenants = list_tenants(self._root)
        if not tenants:
            raise ArchiveError(f"there is no archive at {self._root.text}: give its folder or URL")
        if self._tenant not in tenants:
            raise ArchiveError(
                f"the archive {self._root.text} has nothing of tenant {self._tenant!r}, only of {', '.join(tenants)}"
            )
        endpoints = list_endpoints(self._root, self._tenant)
        if self._chosen is not None and self._chosen not in endpoints:
            raise UnknownEndpointError(
                f"the archive {self._root.text} has no endpoint {self._chosen!r}, only {', '.join(endpoints) or 'none'}"
            )
        return {each: find_files(self._root, self._tenant, each, self._span) for each in endpoints}

    def _relation(self, view: str) -> "duckdb.DuckDBPyRelation":
        self._chosen_files()
        return self._connection.sql(f"FROM {name(_known(view, VIEWS))}")

    def _chosen_files(self) -> dict[str, KindFiles]:
        if self.endpoint is None:
            raise InvalidRequestError(
                f"the archive has several endpoints: open it with one of {', '.join(self._files)}"
            )
        return self._files[self.endpoint]


def _connect(root: ArchiveRoot, database: str = ":memory:") -> "duckdb.DuckDBPyConnection":
    try:
        import duckdb  # noqa: PLC0415 # an extra

        from rendezvous_sdk.archive.object_store import ArchiveFiles  # noqa: PLC0415 # the same
    except ModuleNotFoundError as error:
        raise ImportError(f"asking an archive needs {error.name}; {_INSTALL.format('archive')}") from error
    # Nothing is fetched from elsewhere behind the user's back.
    connection = duckdb.connect(database, config={"autoinstall_known_extensions": False})
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute("SET python_scan_all_frames = true")  # `sql` may name tables of whoever calls it
    if not root.is_local:
        connection.register_filesystem(ArchiveFiles(root.filesystem))
    return connection


def _list_files(connection: "duckdb.DuckDBPyConnection", macro: str, paths: Sequence[str]) -> None:
    connection.execute(f"CREATE OR REPLACE MACRO {macro}() AS {texts(paths)}")


def _types(connection: "duckdb.DuckDBPyConnection", schema: pa.Schema) -> dict[str, str]:
    empty = connection.from_arrow(schema.empty_table())
    return dict(zip(empty.columns, map(str, empty.types), strict=True))


def _check_installed(package: str) -> None:
    try:
        __import__(package)
    except ModuleNotFoundError as error:
        raise ImportError(f"{package} is not installed; {_INSTALL.format(package)}") from error


def _known(word: str, words: Sequence[str]) -> str:
    if word not in words:
        raise InvalidRequestError(f"{word!r} is none of {', '.join(words)}")
    return word


def _common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.unify_schemas([_with_text(each, schemas) for each in schemas], promote_options="permissive")


def _with_text(schema: pa.Schema, schemas: Sequence[pa.Schema]) -> pa.Schema:
    for place, field in enumerate(schema):
        types = {each.field(field.name).type for each in schemas if field.name in each.names}
        if len(types) > 1 and any(pa.types.is_string(each) for each in types):
            schema = schema.set(place, field.with_type(pa.string()))
    return schema


def _in_utc(moment: dt.datetime | None) -> dt.datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=dt.UTC)
