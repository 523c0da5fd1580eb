"""A model that speaks the postbox's protocol and breaks one of its rules; without the SDK, which would not let it.

`python -m tests.support.faulty NATS ENDPOINT MODEL FAULT [input|raw]`
"""

import asyncio
import random
import sys
from collections.abc import Callable

import numpy as np
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from rendezvous_proto.postbox import consumer_name, durable_stream, input_subject, raw_subject, score_subject
from rendezvous_proto.v1 import Column, DataType, Frame, ItemScore, Parcel, ParcelScore
from rendezvous_sdk.nats_connection import connect
from rendezvous_sdk.pull import ContinuousPull


def answer(parcel: Parcel, model: str) -> ParcelScore:
    """Returns a score in which nothing is wrong."""
    rows = parcel.inputs.rows
    total = np.zeros(rows, "<f8")
    columns = [
        Column(name="total", type=DataType.DATA_TYPE_FP64, values=total.tobytes()),
        Column(name="label", type=DataType.DATA_TYPE_STRING, strings=["faulty"] * rows),
    ]
    return ParcelScore(
        parcel_id=parcel.parcel_id,
        endpoint=parcel.endpoint,
        model=model,
        version="1",
        replica="faulty",
        items=[ItemScore(request_id=item.request_id, rows=item.rows) for item in parcel.items],
        outputs=Frame(rows=rows, columns=columns),
    )


def nan(parcel: Parcel, model: str) -> list[bytes]:
    """Answers NaN where it is not allowed."""
    score = answer(parcel, model)
    score.outputs.columns[0].values = np.full(parcel.inputs.rows, np.nan, "<f8").tobytes()
    return [score.SerializeToString()]


def rows(parcel: Parcel, model: str) -> list[bytes]:
    """Answers one row too many."""
    score = answer(parcel, model)
    wider = parcel.inputs.rows + 1
    score.outputs.rows = wider
    score.outputs.columns[0].values = np.zeros(wider, "<f8").tobytes()
    score.outputs.columns[1].strings.append("faulty")
    return [score.SerializeToString()]


def columns(parcel: Parcel, model: str) -> list[bytes]:
    """Answers other columns."""
    score = answer(parcel, model)
    score.outputs.columns[0].name = "sum"
    return [score.SerializeToString()]


def types(parcel: Parcel, model: str) -> list[bytes]:
    """Answers another type."""
    score = answer(parcel, model)
    score.outputs.columns[0].type = DataType.DATA_TYPE_INT64
    return [score.SerializeToString()]


def other_id(parcel: Parcel, model: str) -> list[bytes]:
    """Answers another request."""
    score = answer(parcel, model)
    score.items[0].request_id = "somebody-else"
    return [score.SerializeToString()]


def other_parcel(parcel: Parcel, model: str) -> list[bytes]:
    """Answers a parcel that nobody sent."""
    score = answer(parcel, model)
    score.parcel_id = "00000000-0000-7000-8000-000000000000"
    return [score.SerializeToString()]


def other_model(parcel: Parcel, model: str) -> list[bytes]:
    """Answers in another model's name."""
    return [answer(parcel, "second").SerializeToString()]


def garbage(parcel: Parcel, model: str) -> list[bytes]:
    """Answers bytes that are no message."""
    return [b"\xff\xfe garbage \x00" * 20]


def torn(parcel: Parcel, model: str) -> list[bytes]:
    """Answers a frame whose column is three bytes short."""
    score = answer(parcel, model)
    score.outputs.columns[0].values = score.outputs.columns[0].values[:-3]
    return [score.SerializeToString()]


def flood(parcel: Parcel, model: str) -> list[bytes]:
    """Answers two hundred times, differently."""
    replies = []
    for number in range(200):
        score = answer(parcel, model)
        score.outputs.columns[0].values = np.full(parcel.inputs.rows, float(number), "<f8").tobytes()
        replies.append(score.SerializeToString())
    return replies


def backwards(parcel: Parcel, model: str) -> list[bytes]:
    """Is delivered each parcel twice and answers the second delivery first, which is no fault."""
    second, first = answer(parcel, model), answer(parcel, model)
    second.delivery, first.delivery = 2, 1
    return [second.SerializeToString(), first.SerializeToString()]


def mutated(parcel: Parcel, model: str) -> list[bytes]:
    """Answers what was an honest score before some of its bytes were changed, each time others."""
    chance = random.Random(parcel.parcel_id)
    replies = []
    for _ in range(5):
        octets = bytearray(answer(parcel, model).SerializeToString())
        for _ in range(chance.randint(1, 5)):
            octets[chance.randrange(len(octets))] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        replies.append(bytes(octets))
    return replies


def nameless(parcel: Parcel, model: str) -> list[bytes]:
    """Names no endpoint, and a version that cannot be one."""
    score = answer(parcel, model)
    score.endpoint, score.version = "", "1/2 ?"
    return [score.SerializeToString()]


def hung(parcel: Parcel, model: str) -> list[bytes]:
    """Never answers."""
    return []


FAULTS: dict[str, Callable[[Parcel, str], list[bytes]]] = {
    fault.__name__: fault
    for fault in (
        *(nan, rows, columns, types, other_id, other_parcel, other_model),
        *(garbage, torn, flood, backwards, mutated, nameless, hung),
    )
}


async def serve(
    client: Client, endpoint: str, model: str, fault: Callable[[Parcel, str], list[bytes]], subject: str
) -> None:
    """Answers every parcel on *subject* by *fault*."""
    stream, consumer = durable_stream(endpoint), consumer_name(model, "1")
    config = ConsumerConfig(
        durable_name=consumer,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.NEW,
        filter_subject=subject,
    )
    await client.jetstream().add_consumer(stream, config)

    async def take(msg: Msg) -> None:
        parcel = Parcel.FromString(msg.data)
        for reply in fault(parcel, model):
            await client.publish(score_subject(endpoint, model, parcel.router), reply)
        await msg.ack()

    await ContinuousPull.start(client, stream=stream, consumer=consumer, on_message=take)
    print("ready: faulty", flush=True)
    await asyncio.Event().wait()


async def main(url: str, endpoint: str, model: str, fault: str, subject: str = "input") -> None:
    """Connects and serves."""
    named = raw_subject(endpoint) if subject == "raw" else input_subject(endpoint)
    await serve(await connect(url, name=f"faulty {model}"), endpoint, model, FAULTS[fault], named)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
