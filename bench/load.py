"""The load generator: a closed loop of clients in a process of its own, sending ready bytes.

`python -m bench.load` reads a Load as JSON from its standard input, says when it measures, and prints an Outcome.
Raw bytes in and out, so that a client costs the same whatever it talks to.
"""

import asyncio
import sys
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import grpc
import msgspec
import numpy as np
from rendezvous_proto import v1

MEASURING = "measuring"
"""Line that says that the warm-up is over."""
HTTP = "HTTP"
"""Method of a load whose payloads are HTTP requests."""
_CALL_TIMEOUT_S = 30.0
_SAMPLE_EVERY = 61
_PAUSE_AFTER_ERROR_S = 0.01
_CHANNELS = 8
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
)

Step = Callable[[], Awaitable[bytes]]


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send."""

    address: str
    """Where the server is, host:port."""
    payloads: list[str]
    """Files of serialized requests. More than one: all are sent at once, and together count as one request."""
    clients: int = 1
    """How many send at the same time; each waits for its answer before it sends the next."""
    mode: str = "unary"
    """`unary`, or `stream`: one stream for each client."""
    method: str = "/rendezvous.v1.Score/Score"
    """Method of gRPC; or `HTTP`: the payloads are whole HTTP/1.1 requests, head and body."""
    rows: int = 1
    """Rows in one request."""
    warm_up_s: float = 1.0
    measure_s: float = 4.0
    max_requests: int = 0
    """Stop after so many answers; 0: when the time is over."""
    rate_per_s: float = 0.0
    """Requests sent a second, all clients together, whether or not answers come; latencies count from when a request
    was due. 0: each client sends as soon as it has its answer."""
    late_after_ms: float = 0.0
    """Count answers slower than this; 0: none."""
    parse: bool = True
    """Whether replies are ScoreReply messages, of which some are looked into."""


class Outcome(msgspec.Struct, kw_only=True):
    """What came back."""

    count: int
    """Answers in the measured time."""
    seconds: float
    per_s: float
    rows_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    late: int
    """Answers slower than `late_after_ms`."""
    decided_late: int
    """Answers that the router itself decided later than `late_after_ms`; the rest of `late` was lost on the way."""
    errors: dict[str, int]
    """Failed requests by gRPC status."""
    answers: dict[str, int]
    """Rule and model of the sampled answers."""
    client_cpu_s: float
    """Processor time of the load generator in the measured time."""


class _Tally:
    """Latencies and failures, from the end of the warm-up on."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.start = time.perf_counter() + load.warm_up_s
        self.end = self.start + load.measure_s
        self.finished = self.start
        self.latencies_s = array("d")
        self.errors: Counter[str] = Counter()
        self.samples: list[bytes] = []
        self._due = time.perf_counter()

    async def next_due(self) -> float:
        """Waits until the next request of a load with a rate is due, and returns when that was."""
        due, self._due = self._due, self._due + 1 / self.load.rate_per_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        return due

    @property
    def is_over(self) -> bool:
        """Whether no client should send any more."""
        enough = self.load.max_requests
        return time.perf_counter() >= self.end or bool(enough and len(self.latencies_s) >= enough)

    def add(self, sent: float, reply: bytes) -> None:
        """Counts one answer."""
        now = time.perf_counter()
        if sent < self.start:
            return
        self.finished = now
        self.latencies_s.append(now - sent)
        if self.load.late_after_ms or len(self.latencies_s) % _SAMPLE_EVERY == 1:
            self.samples.append(reply)


async def run_load(load: Load) -> Outcome:
    """Sends *load* and returns what came back."""
    channels = [grpc.aio.insecure_channel(load.address, options=_OPTIONS) for _ in range(min(load.clients, _CHANNELS))]
    tally = _Tally(load)
    payloads = [await asyncio.to_thread(Path(path).read_bytes) for path in load.payloads]
    clients = [_run_client(channels[place % len(channels)], tally, payloads) for place in range(load.clients)]
    measuring = asyncio.create_task(_measure_cpu(tally))
    await asyncio.gather(*clients)
    outcome = _sum_up(tally, await measuring)
    await asyncio.gather(*(channel.close() for channel in channels))
    return outcome


async def _measure_cpu(tally: _Tally) -> float:
    await asyncio.sleep(max(0.0, tally.start - time.perf_counter()))
    print(MEASURING, flush=True)
    return time.process_time()


async def _run_client(channel: grpc.aio.Channel, tally: _Tally, payloads: list[bytes]) -> None:
    while not tally.is_over:
        step, close = _make_step(channel, tally.load, payloads)
        try:
            await _run_steps(step, tally)
        except grpc.aio.AioRpcError as error:
            tally.errors[error.code().name] += 1
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
        except HttpError as error:
            tally.errors[str(error)] += 1
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
        except EOFError:
            tally.errors["STREAM_ENDED"] += 1
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
        finally:
            close()


async def _run_steps(step: Step, tally: _Tally) -> None:
    while not tally.is_over:
        sent = await tally.next_due() if tally.load.rate_per_s else time.perf_counter()
        tally.add(sent, await step())


class HttpError(Exception):
    """A status other than 200."""


class _HttpConnection:
    """One kept-alive connection that sends ready bytes and reads whole answers."""

    def __init__(self, address: str, request: bytes) -> None:
        self._address = address.rpartition(":")
        self._request = request
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self) -> bytes:
        """Sends the request and returns the body of the answer.

        Raises:
            HttpError: the status is not 200.
            EOFError: the connection was closed.
        """
        if self._streams is None:
            host, _, port = self._address
            self._streams = await asyncio.open_connection(host, int(port))
        reader, writer = self._streams
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        status = head.split(maxsplit=2)[1]
        if status != b"200":
            raise HttpError(status.decode())
        return body

    def close(self) -> None:
        """Closes the connection."""
        if self._streams is not None:
            self._streams[1].close()


def _make_step(channel: grpc.aio.Channel, load: Load, payloads: list[bytes]) -> tuple[Step, Callable[[], object]]:
    if load.mode == "stream":
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(f"{load.method}Stream")()

        async def exchange() -> bytes:
            await call.write(payloads[0])
            reply = await call.read()
            if reply is grpc.aio.EOF:
                raise EOFError
            return cast("bytes", reply)

        return exchange, call.cancel
    if load.method == HTTP:
        connection = _HttpConnection(load.address, payloads[0])
        return connection.exchange, connection.close
    send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(load.method)
    if len(payloads) == 1:
        return (lambda: send(payloads[0], timeout=_CALL_TIMEOUT_S)), lambda: None

    async def send_all() -> bytes:
        replies = await asyncio.gather(*(send(payload, timeout=_CALL_TIMEOUT_S) for payload in payloads))
        return bytes(replies[0])

    return send_all, lambda: None


def _sum_up(tally: _Tally, cpu_at_start_s: float) -> Outcome:
    latencies_ms = np.frombuffer(tally.latencies_s, dtype=np.float64) * 1000.0
    count = len(latencies_ms)
    seconds = max(tally.finished - tally.start, 1e-9)
    p50, p90, p99, slowest = np.percentile(latencies_ms, [50, 90, 99, 100]) if count else [0.0] * 4
    late_ms = tally.load.late_after_ms
    return Outcome(
        count=count,
        seconds=seconds,
        per_s=count / seconds,
        rows_per_s=count * tally.load.rows / seconds,
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        max_ms=float(slowest),
        late=int((latencies_ms > late_ms).sum()) if late_ms else 0,
        decided_late=sum(_decided_ms(reply) > late_ms for reply in tally.samples) if late_ms else 0,
        errors=dict(tally.errors),
        answers=dict(Counter(map(_describe, tally.samples))) if tally.load.parse else {},
        client_cpu_s=time.process_time() - cpu_at_start_s,
    )


def _decided_ms(reply: bytes) -> float:
    return v1.ScoreReply.FromString(reply).decision.decided_after_us / 1000.0


def _describe(reply: bytes) -> str:
    parsed = v1.ScoreReply.FromString(reply)
    if parsed.HasField("error"):
        return f"error {parsed.error.code}"
    rule = parsed.decision.rule or "direct"
    return f"{rule} {parsed.model}".strip() if parsed.outputs.rows else f"{rule} empty"


def main() -> None:
    """Runs the load given on standard input."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(run_load(load))) + b"\n")


if __name__ == "__main__":
    main()
