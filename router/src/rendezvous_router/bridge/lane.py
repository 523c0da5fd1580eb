"""One call at a time to the model server: a thread, and what turns parcels into scores in it."""

import time
from collections.abc import Sequence
from functools import partial

from rendezvous_proto import v1
from rendezvous_proto.errors import ModelFailedError, OverloadedError, UnavailableError
from rendezvous_proto.frames import FrameView, join_frames, slice_frame
from rendezvous_sdk.model import Model
from rendezvous_sdk.scoring import Delivery, ParcelScorer
from rendezvous_sdk.thread import ModelThread
from rendezvous_sdk.traces import is_sampled

from rendezvous_router.bridge.channel import CallTimedOutError
from rendezvous_router.bridge.far import CallContext, Far
from rendezvous_router.bridge.options import BridgeOptions
from rendezvous_router.bridge.plan import Plan

__all__ = ["COMPONENT", "Lane"]

COMPONENT = v1.Provenance(component="rendezvous-bridge", version="0.1.0")
_FIRST_PAUSE_S = 0.02
_LAST_PAUSE_S = 0.5


class Lane:
    """Scores parcels by calls to a model server, one call at a time. Belongs to the event loop.

    Args:
        far: the model server.
        plan: what is done to each table.
        options: how.
        replica: name of this process.
        max_rows: most rows of one call.
    """

    def __init__(self, far: Far, *, plan: Plan, options: BridgeOptions, replica: str, max_rows: int) -> None:
        self._caller = _Caller(far, plan=plan, options=options, max_rows=max_rows)
        model = Model(
            score=self._caller.score, takes="frame", info=v1.ModelInfo(signature={"outputs": plan.signature.outputs})
        )
        self._scorer = ParcelScorer(
            model,
            endpoint=options.endpoint,
            name=options.name,
            version=options.version,
            replica=replica,
            enricher=options.enricher,
        )
        self._thread = ModelThread()

    @property
    def answered_at(self) -> float:
        """When the model server last answered a call, by the monotonic clock; 0.0 if never."""
        return self._caller.answered_at

    def limit_bytes(self, max_bytes: int) -> None:
        """Sets the largest serialized score."""
        self._scorer.max_bytes = max_bytes

    async def score(self, deliveries: Sequence[Delivery]) -> list[tuple[v1.ParcelScore, bytes]]:
        """Returns each parcel's score, also serialized.

        Raises:
            UnavailableError: the model server could not be reached; none of these parcels counts as answered.
        """
        return await self._thread.submit(partial(self._score, deliveries))

    def stop(self) -> None:
        """Ends the thread after the running call; does not wait for it."""
        self._thread.stop()

    def _score(self, deliveries: Sequence[Delivery]) -> list[tuple[v1.ParcelScore, bytes]]:
        self._caller.begin(deliveries)
        scores = self._scorer.score_parcels(deliveries)
        if self._caller.lost is not None:
            raise self._caller.lost
        return [(score, score.SerializeToString()) for score in scores]


class _Caller:
    """The model, as the SDK's scorer sees it: a function of a table."""

    def __init__(self, far: Far, *, plan: Plan, options: BridgeOptions, max_rows: int) -> None:
        self.lost: UnavailableError | None = None
        self.answered_at = 0.0
        self._far = far
        self._plan = plan
        self._options = options
        self._max_rows = max_rows
        self._context = CallContext()
        self._give_up_at = 0.0

    def begin(self, deliveries: Sequence[Delivery]) -> None:
        """Is told what the next tables are made of."""
        self.lost = None
        self._context = _context_of(deliveries)
        self._give_up_at = time.monotonic() + self._options.scoring_limit_s

    def score(self, view: FrameView) -> v1.Frame:
        """Scores a table in as many calls as it takes."""
        if self.lost is not None:
            raise self.lost  # halving what failed would only find the connection lost again
        frame = self._plan.to_far(view.frame)
        rows, most = frame.rows, self._max_rows
        if rows <= most:
            return self._plan.from_far(self._call(frame))
        parts = [slice_frame(frame, first, min(first + most, rows)) for first in range(0, rows, most)]
        return join_frames([self._plan.from_far(self._call(part)) for part in parts])

    def _call(self, frame: v1.Frame) -> v1.Frame:
        pause_s = _FIRST_PAUSE_S
        while True:
            timeout_s = min(self._options.timeout_s, self._left_s())
            try:
                answer = self._far.call(frame, self._context, self._plan.wanted, timeout_s)
            except UnavailableError as error:
                self.lost = error
                raise
            except CallTimedOutError as error:
                if timeout_s < self._options.timeout_s:
                    raise self._over_limit() from error
                raise
            except OverloadedError:
                if pause_s > self._give_up_at - time.monotonic():
                    raise
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)
            else:
                self.answered_at = time.monotonic()
                return answer

    def _left_s(self) -> float:
        left_s = self._give_up_at - time.monotonic()
        if left_s <= 0:
            raise self._over_limit()
        return left_s

    def _over_limit(self) -> ModelFailedError:
        limit_s = self._options.scoring_limit_s
        return ModelFailedError(
            f"the model took longer than {limit_s:g} s (its scoring limit)", {"limit_s": f"{limit_s:g}"}
        )


def _context_of(deliveries: Sequence[Delivery]) -> CallContext:
    """Of several requests in one call, the first that is sampled stands for all, else the first that is traced."""
    items = [item for delivery in deliveries for item in delivery.parcel.items]
    sendable = [item for item in items if _is_sendable(item.traceparent)]
    traced = next((item for item in sendable if is_sampled(item.traceparent)), next(iter(sendable), None))
    chosen = traced or next(iter(items), None)
    if chosen is None:
        return CallContext()
    return CallContext(
        traceparent=traced.traceparent if traced is not None else "",
        tracestate=traced.tracestate if traced is not None and _is_sendable(traced.tracestate) else "",
        provenance=(*chosen.provenance, COMPONENT),
    )


def _is_sendable(text: str) -> bool:
    """Metadata and headers carry printable ASCII; whatever else stands there is no trace context."""
    return bool(text) and text.isascii() and text.isprintable()
