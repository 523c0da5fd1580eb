"""A flood in a process of its own: requests at a fixed rate, each sent once, whatever becomes of them.

`python -m tests.support.flood ADDRESS ENDPOINT RATE NOTES [KEY]`. SIGUSR1 begins, SIGUSR2 pauses, SIGTERM ends it; then
the file NOTES says what became of the requests, as JSON: how many by status.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import grpc
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.v1 import ScoreRequest

_NICE = 10
"""Elsewhere a flood comes from another machine: here its own work leaves the processor to what it floods."""


class Flood:
    """See the module's docstring."""

    def __init__(self, address: str, endpoint: str, rate: float, key: str = "") -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._score = self._channel.unary_unary("/rendezvous.v1.Score/Score")
        inputs = encode_frame({"a": [1.0], "b": [1], "tag": ["x"]})
        self._raw = ScoreRequest(endpoint=endpoint, inputs=inputs).SerializeToString()
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._rate = rate
        self._ended: Counter[str] = Counter()
        self._is_on = asyncio.Event()
        self._stop = asyncio.Event()

    async def run(self) -> "Counter[str]":
        """Floods when told to, until SIGTERM; returns how many requests ended with which status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._is_on.set)
        loop.add_signal_handler(signal.SIGUSR2, self._is_on.clear)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        await self._channel.channel_ready()
        flooding = asyncio.create_task(self._flood())
        print("ready", flush=True)
        await self._stop.wait()
        flooding.cancel()
        await self._channel.close()
        return self._ended

    async def _flood(self) -> None:
        async with asyncio.TaskGroup() as under_way:
            while await self._is_on.wait():
                began, sent = time.monotonic(), 0
                while self._is_on.is_set():
                    while sent < (time.monotonic() - began) * self._rate:
                        under_way.create_task(self._ask())
                        sent += 1
                    await asyncio.sleep(0.002)

    async def _ask(self) -> None:
        try:
            await self._score(self._raw, timeout=5, metadata=self._metadata)
            self._ended["OK"] += 1
        except grpc.aio.AioRpcError as error:
            self._ended[error.code().name] += 1


async def _main(address: str, endpoint: str, rate: str, notes: str, key: str = "") -> None:
    os.nice(_NICE)
    ended = await Flood(address, endpoint, float(rate), key).run()
    await asyncio.to_thread(Path(notes).write_text, json.dumps(ended))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
