"""From a decision to what the client gets and what is kept of it."""

import time
from collections.abc import Sequence
from typing import Any

from rendezvous.mailbox import Decision as CoreDecision
from rendezvous.mailbox import Mailbox, Merged, Otherwise, Picked, PickedRows
from rendezvous_proto.errors import NoAnswerError, RendezvousError
from rendezvous_proto.frames import encode_frame, join_frames, slice_frame
from rendezvous_proto.v1 import (
    Arrival,
    ArrivalStatus,
    Decision,
    DecisionRecord,
    Error,
    Frame,
    ModelScore,
    ScoreReply,
    Timing,
)

from rendezvous_router.endpoint import Endpoint
from rendezvous_router.parcels import Request
from rendezvous_router.scores import ItemColumns


def reply_to(request: Request, mailbox: Mailbox, decision: CoreDecision) -> ScoreReply:
    """Returns the reply of *request* by *decision*.

    Raises:
        NoAnswerError: the policy's `otherwise` is `error`, and no score satisfied it.
    """
    outputs = outputs_of(request, mailbox, decision)
    if outputs is None:
        raise _no_answer(request, mailbox, decision)
    explain = request.message.diagnostics.explain
    models = decision.models
    reply = ScoreReply(
        request_id=request.request_id,
        model=models[0] if models else "",
        version=mailbox.arrivals[models[0]].score.version if models else "",
        outputs=outputs,
        timing=Timing(
            received_unix_us=request.accepted_unix_us,
            started_unix_us=request.accepted_unix_us,
            finished_unix_us=time.time_ns() // 1000,
        ),
        decision=decision_message(request, mailbox, decision, with_arrivals=explain),
    )
    if request.trace is not None:
        reply.traceparent = request.trace.reply_traceparent
    elif request.traceparent:
        reply.traceparent = request.traceparent
    if explain:
        reply.scores.extend(_scores_of(mailbox, request))
    return reply


def record_of(
    request: Request,
    mailbox: Mailbox,
    decision: CoreDecision,
    reply: ScoreReply | RendezvousError,
    router: str,
    *,
    with_spec: bool = False,
) -> DecisionRecord:
    """Returns what the postbox keeps of *decision*; *with_spec*: and of the specification in force."""
    parcel = request.parcel
    assert parcel is not None, "a decided request has been sealed"
    record = DecisionRecord(
        decision=decision_message(request, mailbox, decision, with_arrivals=True),
        parcel_id=parcel.parcel_id,
        first_row=request.first_row,
        rows=request.rows,
        decided_unix_us=request.accepted_unix_us + _microseconds(decision.decided_at),
        router=router,
        budget_ns=_nanoseconds(mailbox.deadline),
        decided_after_ns=_nanoseconds(decision.decided_at),
        due_after_ns=_nanoseconds(decision.due_at),
        spec=request.endpoint.document() if with_spec else "",
    )
    if isinstance(reply, RendezvousError):
        record.error.CopyFrom(reply.to_proto())
    else:
        record.outputs.CopyFrom(reply.outputs)
    return record


def outputs_of(request: Request, mailbox: Mailbox, decision: CoreDecision) -> Frame | None:
    """Returns the frame that *decision* answers with, or None for an error."""
    answer = decision.answer
    if isinstance(answer, Picked):
        return _columns_of(mailbox, answer.model).cut()
    if isinstance(answer, PickedRows):
        return _pick_rows(mailbox, answer.models)
    if isinstance(answer, Merged):
        return _merge(request.endpoint, mailbox, answer)
    if isinstance(answer, Otherwise):
        return _broadcast(request.endpoint, answer.values, request.rows)
    return None


def decision_message(request: Request, mailbox: Mailbox, decision: CoreDecision, *, with_arrivals: bool) -> Decision:
    """Returns *decision* as it travels."""
    message = Decision(
        request_id=request.request_id,
        endpoint=request.endpoint.name,
        rule=decision.rule,
        models=decision.models,
        spec_revision=request.endpoint.revision,
        decided_after_us=_microseconds(decision.decided_at),
        deadline_left_us=_microseconds(mailbox.deadline - decision.decided_at),
        reason=decision.reason,
    )
    if with_arrivals:
        message.arrivals.extend(_arrivals_of(request, mailbox))
    return message


def _arrivals_of(request: Request, mailbox: Mailbox) -> list[Arrival]:
    arrivals = []
    for model, role in request.endpoint.roles.items():
        arrival = mailbox.arrivals.get(model)
        if arrival is None:
            arrivals.append(Arrival(model=model, role=role, status=ArrivalStatus.ARRIVAL_STATUS_PENDING))
            continue
        failure = arrival.score.error
        arrivals.append(
            Arrival(
                model=model,
                version=arrival.score.version,
                role=role,
                status=ArrivalStatus.ARRIVAL_STATUS_FAILED if failure else ArrivalStatus.ARRIVAL_STATUS_SCORED,
                after_us=_microseconds(arrival.at),
                after_ns=_nanoseconds(arrival.at),
                error=Error(code=failure.code, message=failure.message) if failure else None,  # type: ignore[arg-type] # same numbers
            )
        )
    return arrivals


def _scores_of(mailbox: Mailbox, request: Request) -> list[ModelScore]:
    scores = []
    for model, arrival in mailbox.arrivals.items():
        failure = arrival.score.error
        score = ModelScore(model=model, version=arrival.score.version)
        if failure:
            score.error.code, score.error.message = failure.code, failure.message  # type: ignore[assignment] # same numbers
        else:
            score.outputs.CopyFrom(_columns_of(mailbox, model).cut())
        taken = request.parcel.scores.get(model) if request.parcel else None
        if taken is not None:
            score.timing.CopyFrom(taken.message.timing)
        scores.append(score)
    return scores


def _columns_of(mailbox: Mailbox, model: str) -> ItemColumns:
    columns = mailbox.arrivals[model].score.columns
    assert isinstance(columns, ItemColumns), "the router fills mailboxes with ItemColumns only"
    return columns


def _pick_rows(mailbox: Mailbox, models: Sequence[str]) -> Frame:
    if len(set(models)) == 1:
        return _columns_of(mailbox, models[0]).cut()
    cut = {model: _columns_of(mailbox, model).cut() for model in set(models)}
    return join_frames([slice_frame(cut[model], row, row + 1) for row, model in enumerate(models)])


def _merge(endpoint: Endpoint, mailbox: Mailbox, answer: Merged) -> Frame:
    table: dict[str, list[Any]] = {}
    types = {column.name: column.type for column in endpoint.spec.outputs}
    for name in types:
        merged = answer.columns.get(name)
        table[name] = (
            list(merged)
            if merged is not None
            else [_columns_of(mailbox, model).column(name)[row] for row, model in enumerate(answer.rest)]
        )
    return encode_frame(table, types=types)


def _broadcast(endpoint: Endpoint, values: dict[str, Any], rows: int) -> Frame:
    types = {column.name: column.type for column in endpoint.spec.outputs}
    return encode_frame({name: [values.get(name)] * rows for name in types}, types=types)


def _no_answer(request: Request, mailbox: Mailbox, decision: CoreDecision) -> NoAnswerError:
    roles = request.endpoint.roles
    failed = sorted(model for model, arrival in mailbox.arrivals.items() if arrival.score.error)
    silent = sorted(model for model in roles if model not in mailbox.arrivals)
    budget_ms = (request.deadline_at - request.accepted_at) * 1e3
    return NoAnswerError(
        f"no model of endpoint {request.endpoint.name} gave an answer that its policy takes within {budget_ms:.0f} ms "
        f"(failed: {', '.join(failed) or 'none'}; silent: {', '.join(silent) or 'none'}): "
        "retry, allow more time, or declare an `otherwise` in the policy",
        {"rule": decision.rule, "failed": ",".join(failed), "silent": ",".join(silent)},
    )


def _microseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _nanoseconds(seconds: float) -> int:
    # A mailbox's times are whole nanoseconds, n / 1e9, which this gives back exactly.
    return round(seconds * 1e9)
