"""What is known by now of a request, as SQL: of all feedback about it, what counts.

A feedback id counts once, as first kept. Of several for one target, kind and output the latest `observed_at` counts,
then the one kept last; of several targets that fit, the closest: row of a request, request, row of a business key's
requests, business key (P123 and P124 of docs/protocol.md).
"""

from collections.abc import Mapping

from rendezvous_sdk.archive.schema import SignatureColumn
from rendezvous_sdk.archive.sql_text import add_suffix, count_once, name, names, text

__all__ = ["TRUTH_COLUMNS", "truth_columns", "truth_tables"]

TRUTH_COLUMNS = ("truth_text", "truth_number", "reward", "verdict")
"""What is known, whatever the outputs are called."""

_ORDER = (
    "{'a': closeness, 'b': coalesce(observed_at, stored_at), 'c': stored_at, 'd': stream_sequence, 'e': batch_index}"
)
_REPORT = ("kind", "output", "number", "text", "observed_at", "stored_at", "stream_sequence", "batch_index")
_TEXTS = ("STRING",)
_NO_NUMBERS = ("STRING", "BYTES")


def truth_columns(outputs: Mapping[str, SignatureColumn], taken: set[str]) -> dict[str, str]:
    """Returns how the column with the truth about each output is called: `truth_<output>`; only scalars have one."""
    return {
        column: add_suffix(f"truth_{column}", taken)
        for column, told in outputs.items()
        if not told.shape and told.type != "BYTES"
    }


def truth_tables(feedback: str, inputs: str, outputs: Mapping[str, SignatureColumn], truths: Mapping[str, str]) -> str:
    """Returns common table expressions, the last of which is `known`: one row for each request and row (-1: all).

    Args:
        feedback: name of the view, quoted.
        inputs: name of the view, quoted.
        outputs: the outputs, by their name in the files.
        truths: names of the columns with the truth about an output, by its name in the files.
    """
    scalars = [told for told in outputs.values() if not told.shape]
    first_text = next((told.name for told in scalars if told.type in _TEXTS), None)
    first_number = next((told.name for told in scalars if told.type not in _NO_NUMBERS), None)
    columns = [
        *(_about(outputs[column], first_text, first_number, shown) for column, shown in truths.items()),
        _latest("text", "truth", _matches(first_text), "truth_text"),
        _latest("number", "truth", _matches(first_number), "truth_number"),
        _latest("number", "reward", "", "reward"),
        _latest("coalesce(text, CAST(number AS VARCHAR))", "verdict", "", "verdict"),
    ]
    return (
        f"reports AS (\n{count_once(feedback, ['feedback_id'], 'stored_at, stream_sequence, batch_index')}),\n"  # noqa: S608
        "keys AS (SELECT request_id, unnest(map_keys(context)) AS key_name, unnest(map_values(context)) AS key_value "
        # Without outcomes by key nothing is read.
        f"FROM {inputs} WHERE row = 0 AND EXISTS (SELECT 1 FROM reports WHERE request_id IS NULL)),\n"
        f"by_key AS (SELECT k.request_id, f.row, CASE WHEN f.row IS NULL THEN 0 ELSE 1 END AS closeness, {_told('f')} "
        "FROM reports f JOIN keys k USING (key_name, key_value) WHERE f.request_id IS NULL),\n"
        f"targets AS (\nSELECT request_id, row, CASE WHEN row IS NULL THEN 2 ELSE 3 END AS closeness, {_told('f')} "
        "FROM reports f WHERE request_id IS NOT NULL\nUNION ALL FROM by_key\n"
        # What is known of a whole request goes before what a key tells of one of its rows.
        f"UNION ALL SELECT request_id, k.row, 2, {_told('f')} FROM reports f "
        "JOIN (SELECT DISTINCT request_id, row FROM by_key WHERE row IS NOT NULL) k USING (request_id) "
        "WHERE f.row IS NULL),\n"
        f"known AS (SELECT request_id, coalesce(row, -1) AS row, {', '.join(columns)} FROM targets GROUP BY ALL)"
    )


def _about(told: SignatureColumn, first_text: str | None, first_number: str | None, shown: str) -> str:
    is_first = told.name in (first_text, first_number)
    matches = _matches(told.name) if is_first else f" AND output = {text(told.name)}"
    if told.type in _TEXTS:
        return _latest("text", "truth", matches, shown)
    return _latest("number <> 0" if told.type == "BOOL" else "number", "truth", matches, shown)


def _told(table: str) -> str:
    return names(_REPORT, of=table)


def _matches(output: str | None) -> str:
    return f" AND (output IS NULL OR output = {text(output)})" if output is not None else " AND output IS NULL"


def _latest(value: str, kind: str, condition: str, shown: str) -> str:
    return f"arg_max({value}, {_ORDER}) FILTER (kind = {text(kind)}{condition}) AS {name(shown)}"
