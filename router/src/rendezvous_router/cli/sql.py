"""`rendezvous sql`: asks the archive in SQL."""

import csv
import json as jsons
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rendezvous_sdk.archive import Archive, open_archive
from rendezvous_sdk.archive.views import VIEWS

from rendezvous_router.cli._archive import (
    ArchiveOption,
    EndpointOption,
    SinceOption,
    TenantOption,
    UntilOption,
    archive_root,
    archive_tenant,
    check_span,
    refuse_usage,
)
from rendezvous_router.cli._shared import JsonOption, cell, console, fail, new_table, note, print_json, run

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_ROWS_SHOWN = 40
_BATCH = 10_000
_GONE = (
    "A file of the archive that is gone was replaced meanwhile: ask again; or it is lost: `rendezvous archive verify`."
)
_HINT = 'Ask: rendezvous sql "SELECT ...". For a prompt: rendezvous sql --database record.duckdb; duckdb record.duckdb'
_SUFFIXES = (".parquet", ".csv")
_QUESTIONS = ("SELECT", "MULTI")
"""DuckDB's types of statements that only ask. DESCRIBE, SHOW, SUMMARIZE and VALUES are SELECT, PIVOT is MULTI."""


def sql(
    query: Annotated[
        str | None, typer.Argument(help="One SELECT in DuckDB's SQL; - reads it from standard input; none: the views.")
    ] = None,
    endpoint: EndpointOption = None,
    archive: ArchiveOption = None,
    tenant: TenantOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on standard output.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the result to this .parquet or .csv file.")] = None,
    safe: Annotated[bool, typer.Option("--safe", help="The query reads the archive's files and no others.")] = False,
    files: Annotated[bool, typer.Option("--files", help="List the archive's current files instead.")] = False,
    database: Annotated[
        Path | None, typer.Option(help="Write a DuckDB file with the views instead, for DuckDB's own tools.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Asks the archive in SQL: inputs, raw, scores, enrichments, decisions, feedback; answers and outcomes join them.

    Views of the chosen or only endpoint need no prefix; others are ENDPOINT.scores and so on. A query may read your own
    files, too: SELECT ... FROM answers JOIN 'customers.csv' USING (...). It cannot write: see --out.
    """
    check_span(since, until)
    _check_usage(query, out, modes={"--json": json, "--csv": as_csv, "--out": out, "--database": database})
    asked = sys.stdin.read() if query == "-" else query

    async def ask() -> None:
        opened = open_archive(
            archive_root(archive), tenant=archive_tenant(tenant), endpoint=endpoint, since=since, until=until
        )
        with opened:
            if files:
                _list_files(opened, as_json=json)
            elif database is not None:
                _write_database(opened, database)
            elif asked is None:
                _list_views(opened, as_json=json)
            else:
                _answer(opened, asked, out=out, safe=safe, form="json" if json else "csv" if as_csv else "table")

    run(ask())


def _check_usage(query: str | None, out: Path | None, modes: dict[str, Any]) -> None:
    given = [option for option, value in modes.items() if value]
    if len(given) > 1:
        refuse_usage(f"{' and '.join(given)} exclude one another")
    if out is not None and out.suffix not in _SUFFIXES:
        refuse_usage(f"--out {out}: its name must end in {' or '.join(_SUFFIXES)}")
    if query is None and any(modes[option] for option in ("--csv", "--out")):
        refuse_usage(f"{given[0]} needs a query")


def _answer(archive: Archive, query: str, *, out: Path | None, safe: bool, form: str) -> None:
    import duckdb  # noqa: PLC0415 # a third of a second that no other command needs

    connection = archive.connection
    # Names in a query mean views and files, never variables of this program.
    connection.execute("SET python_enable_replacements = false")
    try:
        _check_question(query)
        if safe:
            archive.lock([out] if out is not None else [])
        _put(connection.sql(query), out, form)
    except duckdb.IOException as error:
        fail(f"{error}\n{_GONE}")
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        fail(f"{error}\n{_told_views(archive)}")
    except duckdb.Error as error:
        fail(str(error))


def _check_question(query: str) -> None:
    import duckdb  # noqa: PLC0415 # a third of a second that no other command needs

    statements = duckdb.extract_statements(query)
    if len(statements) != 1 or statements[0].type.name not in _QUESTIONS:
        refuse_usage("give one query that only asks: SELECT, FROM, WITH, DESCRIBE, SHOW, SUMMARIZE or PIVOT")


def _put(relation: "DuckDBPyRelation", out: Path | None, form: str) -> None:
    if out is not None:
        if out.suffix == ".parquet":
            relation.write_parquet(str(out), compression="zstd")
        else:
            relation.write_csv(str(out), header=True)
        note(f"written to {out}")
    elif form == "json":
        _print_json(relation)
    elif form == "csv":
        _print_csv(relation)
    else:
        relation.show(max_width=console.width, max_rows=_ROWS_SHOWN)


def _print_json(relation: "DuckDBPyRelation") -> None:
    """Prints a list of objects, a line each, however many there are."""
    before = "["
    for (text,) in _rows(relation, "SELECT to_json(answer) FROM answer"):
        typer.echo(f"{before}\n{_standard(text)}", nl=False)
        before = ","
    typer.echo("\n]" if before == "," else "[]")


def _rows(relation: "DuckDBPyRelation", query: str) -> Iterator[tuple[Any, ...]]:
    """Asks of a result, `answer`; never has more than a batch of it in memory."""
    asked = relation.query("answer", query)
    if asked is not None:  # it is for statements that have no result
        for batch in asked.to_arrow_reader(_BATCH):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _standard(text: str) -> str:
    """DuckDB writes NaN and Infinity, which JSON does not have: null."""
    if "NaN" not in text and "Infinity" not in text:
        return text
    return jsons.dumps(jsons.loads(text, parse_constant=lambda _: None), ensure_ascii=False)


def _print_csv(relation: "DuckDBPyRelation") -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(relation.columns)
    writer.writerows(_rows(relation, "SELECT COLUMNS(*)::VARCHAR FROM answer"))


def _list_files(archive: Archive, *, as_json: bool) -> None:
    found = {kind: archive.files(kind) for kind in archive.kinds}
    if as_json:
        print_json(found)
        return
    for path in (path for paths in found.values() for path in paths):
        typer.echo(path)


def _list_views(archive: Archive, *, as_json: bool) -> None:
    columns = {
        view: [name for name, *_ in archive.sql(f'DESCRIBE "{view}"').fetchall()]
        for view in (VIEWS if archive.endpoint is not None else ())
    }
    rows = archive.kinds if archive.endpoint is not None else {}
    if as_json:
        print_json({"endpoints": archive.endpoints, "endpoint": archive.endpoint, "rows": rows, "views": columns})
        return
    note(_told_views(archive))
    table = new_table("view", "rows", "columns")
    for view, names in columns.items():
        table.add_row(view, cell(rows.get(view)), ", ".join(names))
    console.print(table)
    note(_HINT)


def _told_views(archive: Archive) -> str:
    views = ", ".join(VIEWS)
    if archive.endpoint is None:
        return f"Endpoints: {', '.join(archive.endpoints)}; write ENDPOINT.VIEW, or give --endpoint. Views: {views}."
    return f"Views of {archive.endpoint}: {views}. Their columns: DESCRIBE answers."


def _write_database(archive: Archive, path: Path) -> None:
    import duckdb  # noqa: PLC0415 # a third of a second that no other command needs

    try:
        archive.write_database(path)
    except duckdb.Error as error:
        fail(str(error))
    note(f"views written to {path}, as of now: later files need it written again")
