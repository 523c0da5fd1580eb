"""A client with OpenTelemetry: asks each of its arguments, all at once, each in a trace of its own.

`python client.py ADDRESS ENDPOINT NUMBER ...` prints one JSON object: for each number its trace's id, and the answer or
the name of the error's code.
"""

import asyncio
import json
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from rendezvous_proto.errors import RendezvousError
from rendezvous_sdk import AsyncClient


async def ask(client: AsyncClient, number: float) -> list[str | float]:
    """Asks one number inside of a span of the caller's own."""
    with trace.get_tracer("form").start_as_current_span("submit form") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
        try:
            answer = await client.score({"x": [number]})
        except RendezvousError as error:
            return [trace_id, error.code.name]
        return [trace_id, float(answer["y"][0])]


async def main(address: str, endpoint: str, *numbers: str) -> None:
    """Asks all numbers."""
    async with AsyncClient(address, endpoint=endpoint) as client:
        results = await asyncio.gather(*[ask(client, float(number)) for number in numbers])
    print(json.dumps(results))


if __name__ == "__main__":
    provider = TracerProvider(resource=Resource({"service.name": "form"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    asyncio.run(main(*sys.argv[1:]))
    provider.shutdown()
