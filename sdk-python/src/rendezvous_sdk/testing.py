"""A postbox in memory: a model is tested without a server, by the code that serves it.

::

    with testing.Postbox(score) as box:
        assert box.score({"duration_months": [12, 48]})["default_probability"][1] > 0.5
"""

from types import TracebackType
from typing import Any, Self

from rendezvous_proto import v1
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.frames import encode_frame, join_frames
from rendezvous_proto.ids import new_id

from rendezvous_sdk.answer import Answer
from rendezvous_sdk.frame import Takes
from rendezvous_sdk.model import Columns, as_model
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.scoring import Delivery, ParcelScorer

__all__ = ["Postbox"]

_START_UNIX_US = 1_700_000_000_000_000


class Postbox:
    """A postbox with one model at it and a clock that stands still until `advance`.

    Args:
        model: what `serve` takes.
        endpoint: name of the endpoint.
        name: name of the model; None takes the target's.
        version: version of the model.
        outputs: names of the output columns, where the model does not declare them.
        takes: shape of the input, before what the model declares.

    Raises:
        InvalidRequestError: something that is no model, or a malformed name.
    """

    def __init__(
        self,
        model: object,
        *,
        endpoint: str = "test",
        name: str | None = None,
        version: str = "1",
        outputs: Columns | None = None,
        takes: Takes | None = None,
    ) -> None:
        self.model = as_model(model, outputs=outputs, takes=takes)
        options = ServeOptions(endpoint=endpoint, name=name or self.model.name, version=version)
        self.endpoint = options.endpoint
        self.now_unix_us = _START_UNIX_US
        self._sequence = 0
        self._deliveries: dict[str, int] = {}
        self._scorer = ParcelScorer(
            self.model,
            endpoint=options.endpoint,
            name=options.name,
            version=options.version,
            replica="in-memory",
            clock=lambda: self.now_unix_us,
        )

    def __enter__(self) -> Self:
        if self.model.setup is not None:
            self.model.setup()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.model.close is not None:
            self.model.close()

    def advance(self, seconds: float) -> None:
        """Moves the clock."""
        self.now_unix_us += round(seconds * 1e6)

    def parcel(self, *tables: Any, budget_s: float = 1.0) -> v1.Parcel:
        """Returns a parcel of one request for each table, sealed now.

        Args:
            tables: as in `Client.score`; all with the same columns.
            budget_s: seconds from now to the requests' deadline.
        """
        frames = [table if isinstance(table, v1.Frame) else encode_frame(table) for table in tables]
        budget_us = round(budget_s * 1e6)
        items = [
            v1.ParcelItem(
                request_id=new_id(),
                rows=frame.rows,
                budget_us=budget_us,
                deadline_unix_us=self.now_unix_us + budget_us,
            )
            for frame in frames
        ]
        return v1.Parcel(
            parcel_id=new_id(),
            endpoint=self.endpoint,
            router="in-memory",
            sealed_unix_us=self.now_unix_us,
            items=items,
            inputs=join_frames(frames),
        )

    def deliver(self, *parcels: v1.Parcel) -> v1.ParcelScore:
        """Delivers parcels and returns the score of the first; see `deliver_together`.

        A parcel that is delivered again counts as redelivered.
        """
        return self.deliver_together(*parcels)[0]

    def deliver_together(self, *parcels: v1.Parcel) -> list[v1.ParcelScore]:
        """Delivers parcels as if they had waited together and returns their scores."""
        return self._scorer.score_parcels([self._delivery(parcel) for parcel in parcels])

    def score(self, table: Any) -> Answer:
        """Sends one request in a parcel and returns its answer.

        Raises:
            RendezvousError: the leaf class of whatever went wrong.
        """
        score = self.deliver(self.parcel(table))
        item = score.items[0]
        if item.HasField("error"):
            raise RendezvousError.from_proto(item.error)
        return Answer(
            v1.ScoreReply(
                request_id=item.request_id,
                model=score.model,
                version=score.version,
                outputs=score.outputs,
                timing=score.timing,
            )
        )

    def _delivery(self, parcel: v1.Parcel) -> Delivery:
        self._sequence += 1
        number = self._deliveries[parcel.parcel_id] = self._deliveries.get(parcel.parcel_id, 0) + 1
        return Delivery(
            parcel=parcel,
            sequence=self._sequence,
            number=number,
            age_us=self.now_unix_us - parcel.sealed_unix_us,
            received_unix_us=self.now_unix_us,
        )
