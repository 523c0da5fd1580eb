"""The views of one endpoint, as SQL: one for each kind of the record, and `answers` and `outcomes`, which join them.

Versions of a signature: a column that a file does not have is null; one whose type changed has the common type that
DuckDB's UNION gives (INT64 and FP64: DOUBLE; a number and STRING: VARCHAR). A kind without files has no rows.

Source: docs/record.md, ADR 0022.
"""

from collections.abc import Iterable, Mapping

from rendezvous_sdk.archive.layout import KINDS
from rendezvous_sdk.archive.schema import SignatureColumn
from rendezvous_sdk.archive.sources import FileGroup, KindFiles, Span
from rendezvous_sdk.archive.sql_text import SCHEME, add_suffix, count_once, moment, name
from rendezvous_sdk.archive.truth import TRUTH_COLUMNS, truth_columns, truth_tables

__all__ = ["VIEWS", "EndpointViews"]

VIEWS = (*KINDS, "answers", "outcomes")
"""All views of an endpoint."""

_ANSWER_COLUMNS = (
    "request_id", "row", "rows", "time", "day", "context", "rule", "chosen", "models", "decided_after_us",
    "deadline_left_us", "spec_revision", "error_code",
)  # fmt: skip
_OUTCOME_COLUMNS = (
    "request_id", "row", "model", "version", "origin", "run", "late", "after_us", "error_code", "parcel_id",
    "stored_at", "day",
)  # fmt: skip
_LATE_DECISION = "INTERVAL 1 HOUR"


class EndpointViews:
    """Writes the SQL of an endpoint's views.

    Args:
        schema: DuckDB schema that they are put in, quoted.
        files: the endpoint's files, by kind.
        span: the time of the requests.
        fixed_types: DuckDB's types of each kind's fixed columns, by kind and name.
        is_local: whether DuckDB opens the files by itself.

    Attributes:
        lists: lists of files that the queries use as macros, by name, quoted. With ten thousand names in its own text a
            view would be parsed again, slowly, wherever it is used.
    """

    def __init__(
        self,
        schema: str,
        files: Mapping[str, KindFiles],
        span: Span,
        *,
        fixed_types: Mapping[str, Mapping[str, str]],
        is_local: bool,
    ) -> None:
        self._schema = schema
        self._files = files
        self._span = span
        self._fixed_types = fixed_types
        self._prefix = "" if is_local else SCHEME
        self.lists: dict[str, list[str]] = {}

    def queries(self) -> dict[str, str]:
        """Returns the query of each view, in the order in which they must be made; `_` begins those for the others."""
        queries = {kind: self._kind(kind) for kind in KINDS}
        if self._span.until is not None:  # a decision may be stored after the span that its request is in
            queries["_decisions"] = self._union("decisions", self._limits("decisions", late=_LATE_DECISION))
        queries["answers"] = self._answers()
        queries["outcomes"] = self._outcomes()
        return queries

    def _kind(self, kind: str) -> str:
        return self._union(kind, self._limits(kind))

    def _union(self, kind: str, limits: str) -> str:
        nulls = (f"CAST(NULL AS {type_}) AS {name(column)}" for column, type_ in self._fixed_types[kind].items())
        parts = [f"SELECT {', '.join(nulls)} WHERE false"]
        parts += [
            self._read(group, self._replay_limits() if group.is_replay else limits) for group in self._groups(kind)
        ]
        union = "\nUNION ALL BY NAME ".join(parts)
        return f"SELECT *, CAST(stored_at AT TIME ZONE 'UTC' AS DATE) AS day FROM (\n{union})"  # noqa: S608 # quoted

    def _groups(self, kind: str) -> list[FileGroup]:
        return self._files[kind].groups

    def _read(self, group: FileGroup, limits: str) -> str:
        files = self._table(f"{group.kind}_{group.schema_id}_{'replay' if group.is_replay else 'live'}")
        self.lists[files] = [self._prefix + path for path in group.paths]
        return f"SELECT * FROM read_parquet({files}(), hive_partitioning = false){limits}"  # noqa: S608 # the same

    def _limits(self, kind: str, *, late: str | None = None) -> str:
        since, until = self._span.since, self._span.until
        conditions = []
        if kind == "feedback":
            return ""
        if since is not None:
            conditions.append(f"stored_at >= {moment(since)}")
        if kind not in ("scores", "enrichments"):
            if until is not None:
                conditions.append(f"stored_at < {moment(until)}" + (f" + {late}" if late else ""))
        else:  # whenever they came: what counts is when their request did
            asked = "stored_at - to_microseconds(coalesce(after_us, 0))"
            conditions += [f"{asked} >= {moment(since)}"] if since is not None else []
            conditions += [f"{asked} < {moment(until)}"] if until is not None else []
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def _replay_limits(self) -> str:
        inputs = self._table("inputs")
        return f" WHERE request_id IN (SELECT request_id FROM {inputs})" if self._span.is_limited else ""  # noqa: S608

    def _table(self, view: str) -> str:
        return f"{self._schema}.{name(view)}"

    def _answers(self) -> str:
        decisions = self._table("decisions" if self._span.until is None else "_decisions")
        taken = {*_ANSWER_COLUMNS, *TRUTH_COLUMNS}
        outputs = self._outputs("decisions")
        answered = {column: add_suffix(f"answer_{column}", taken) for column in outputs}
        truths = truth_columns(outputs, taken)
        inputs = {column: add_suffix(column, taken) for column in self._files["inputs"].signature}
        given = [f"d.{name(column)}[i.row + 1] AS {name(shown)}" for column, shown in answered.items()]
        columns = [
            "i.request_id, i.row, i.rows, i.stored_at AS time, i.day, i.context",
            *(f"i.{name(column)} AS {name(shown)}" for column, shown in inputs.items()),
            *given,
            "d.rule, d.chosen, d.models, d.decided_after_us, d.deadline_left_us, d.spec_revision, d.error_code",
            *_coalesced(truths),
        ]
        first = count_once(decisions, ["request_id"], "stored_at, stream_sequence, batch_index")
        return (
            f"WITH first_decisions AS (\n{first}),\n"  # noqa: S608 # quoted names
            f"{self._truth_tables(outputs, truths)},\n"
            # One parcel may be in the stream twice, where a retry came after the broker had forgotten its id.
            "twice AS (SELECT parcel_id, min(stream_sequence) AS first_sequence "
            f"FROM {self._table('inputs')} GROUP BY parcel_id HAVING min(stream_sequence) < max(stream_sequence)),\n"
            f"first_inputs AS (SELECT i.* FROM {self._table('inputs')} i LEFT JOIN twice USING (parcel_id) "
            "WHERE first_sequence IS NULL OR stream_sequence = first_sequence)\n"
            f"SELECT {', '.join(columns)}\n"
            "FROM first_inputs i JOIN first_decisions d ON i.request_id = d.request_id AND i.parcel_id = d.parcel_id\n"
            f"{_truth_joins('i')}"
        )

    def _outcomes(self) -> str:
        taken = {*_OUTCOME_COLUMNS, *TRUTH_COLUMNS}
        outputs = self._outputs("scores")
        truths = truth_columns(outputs, taken)
        scored = {column: add_suffix(column, taken) for column in outputs}
        columns = [
            "s.request_id, s.row, s.model, s.version, s.origin, s.run",
            *(f"s.{name(column)} AS {name(shown)}" for column, shown in scored.items()),
            "s.late, s.after_us, s.error_code, s.parcel_id, s.stored_at, s.day",
            *_coalesced(truths),
        ]
        # The first that was live; else the last that a replay made.
        order = (
            "origin <> 'live', CASE WHEN origin = 'live' THEN stored_at END, "
            "CASE WHEN origin = 'live' THEN score_sequence END, stored_at DESC, score_sequence DESC"
        )
        first = count_once(self._table("scores"), ["request_id", "row", "model", "version"], order)
        return (
            f"WITH first_scores AS (\n{first}),\n"
            f"{self._truth_tables(outputs, truths)}\n"
            # What was no score is kept without a request.
            f"SELECT {', '.join(columns)}\nFROM first_scores s\n{_truth_joins('s')}\nWHERE s.request_id IS NOT NULL"
        )

    def _outputs(self, kind: str) -> dict[str, SignatureColumn]:
        return self._files[kind].signature

    def _truth_tables(self, outputs: Mapping[str, SignatureColumn], truths: Mapping[str, str]) -> str:
        return truth_tables(self._table("feedback"), self._table("inputs"), outputs, truths)


def _coalesced(truths: Mapping[str, str]) -> Iterable[str]:
    for column in (*truths.values(), *TRUTH_COLUMNS):
        yield f"coalesce(of_row.{name(column)}, of_request.{name(column)}) AS {name(column)}"


def _truth_joins(table: str) -> str:
    return (
        f"LEFT JOIN known of_row ON {table}.request_id = of_row.request_id AND {table}.row = of_row.row\n"
        f"LEFT JOIN known of_request ON {table}.request_id = of_request.request_id AND of_request.row = -1"
    )
