"""The service `Score`, asked as it should be; health and reflection beside it."""

import asyncio
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rendezvous_proto.frames import join_frames, slice_frame

from rendezvous_router.conformance.case import Failed, Need, NotApplicable, expect, expect_equal, group
from rendezvous_router.conformance.cases._checks import check_echo, check_made_id, check_outputs
from rendezvous_router.conformance.frames import type_name
from rendezvous_router.conformance.site import Site

case = group("The service over gRPC")

SERVICE = "rendezvous.v1.Score"
_HEALTH = "grpc.health.v1.Health"
_AT_ONCE = 40


@case("grpc.describe", "Describe names the model, its version, and a sound signature", rules="P2 P60")
async def describe(site: Site) -> str:
    """Asks with every name under which the model is served."""
    info = await site.caller.describe()
    expect(info.name and info.version, "name or version is empty")
    for columns in (info.signature.inputs, info.signature.outputs):
        names = [column.name for column in columns]
        expect(len(set(names)) == len(names) and all(names), f"columns are not named uniquely: {names}")
        expect(all(int(column.type) for column in columns), "a column has no type")
    for name in filter(None, (info.name, site.endpoint)):
        expect_equal(f"the model described for {name!r}", (await site.caller.describe(name)).name, info.name)
    columns_text = ", ".join(f"{column.name} {type_name(column.type)}" for column in info.signature.inputs[:4])
    return f"{info.name}:{info.version}, {info.sdk or info.language}; {columns_text or 'no inputs declared'}"


@case("grpc.score", "Score answers one row, with its model, version and times", rules="P101")
async def score(site: Site) -> None:
    """One row, nothing special."""
    inputs = site.inputs.table(1)
    reply = await site.caller.score(inputs, endpoint=site.endpoint)
    check_outputs(site, reply.outputs, 1)
    expect_equal("model and version", (reply.model, reply.version), (site.info.name, site.info.version))
    expect(not reply.HasField("error"), "a unary answer has `error` set")
    times = reply.timing
    expect(
        0 < times.received_unix_us <= times.started_unix_us <= times.finished_unix_us,
        f"the times are not in order: {times.received_unix_us}, {times.started_unix_us}, {times.finished_unix_us}",
    )


@case("grpc.score-order", "rows are answered in the order sent", rules="P101")
async def score_order(site: Site) -> None:
    """The rows in reverse: the answers in reverse."""
    inputs = site.inputs.table(7)
    rows = [slice_frame(inputs, row, row + 1) for row in reversed(range(7))]
    outputs = (await site.caller.score(inputs)).outputs
    if (await site.caller.score(inputs)).outputs != outputs:
        raise NotApplicable("the model's answers to the same rows differ")
    turned = (await site.caller.score(join_frames(rows))).outputs
    expected = join_frames([slice_frame(outputs, row, row + 1) for row in reversed(range(7))])
    expect(turned == expected, "the rows of a table in reverse are not answered in reverse")


@case("grpc.score-many-rows", "Score answers 10,000 rows with as many", rules="P101")
async def score_many_rows(site: Site) -> None:
    """The default limit of a request."""
    inputs = site.inputs.table(10_000)
    reply = await site.caller.score(inputs)
    check_outputs(site, reply.outputs, 10_000)
    if site.is_probe:
        check_echo(inputs, reply.outputs)


@case("grpc.score-concurrent", "concurrent calls are answered each with its own rows and id", rules="P101 P3")
async def score_concurrent(site: Site) -> None:
    """Forty calls at once, of one to three rows."""
    tables = [site.inputs.table(1 + number % 3, first=number) for number in range(_AT_ONCE)]
    replies = await asyncio.gather(
        *[site.caller.score(table, request_id=f"request-{number}") for number, table in enumerate(tables)]
    )
    for number, (table, reply) in enumerate(zip(tables, replies, strict=True)):
        expect_equal("the request's id", reply.request_id, f"request-{number}")
        check_outputs(site, reply.outputs, table.rows)
        if site.is_probe:
            check_echo(table, reply.outputs)


@case("grpc.request-id-kept", "the client's request id comes back, up to 64 characters", rules="P1 P3 P101")
async def request_id_kept(site: Site) -> None:
    """Ids of every allowed character and length."""
    for request_id in ("a", "A-Z_0-9", "x" * 64, "018f2d3c-7b1a-7c3d-9e4f-0123456789ab"):
        reply = await site.caller.score(site.inputs.table(1), request_id=request_id)
        expect_equal("the request's id", reply.request_id, request_id)


@case("grpc.request-id-made", "a request without an id gets one: UUID version 7, another each time", rules="P3")
async def request_id_made(site: Site) -> None:
    """Two requests without ids."""
    made = [(await site.caller.score(site.inputs.table(1))).request_id for _ in range(2)]
    for request_id in made:
        check_made_id(request_id)
    expect(made[0] != made[1], "two requests got the same id")


async def _health(site: Site, service: str, timeout_s: float = 5.0) -> int:
    stub = health_pb2_grpc.HealthStub(site.caller.channel)
    reply = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s, wait_for_ready=True)
    return int(reply.status)


@case("grpc.health", "health reports SERVING for the server and for the service", rules="P100")
async def health(site: Site) -> None:
    """Both names; another name is NOT_FOUND."""
    for service in ("", SERVICE):
        expect_equal(f"the status of {service!r}", await _health(site, service), 1)
    try:
        status = await _health(site, "no.such.Service")
    except grpc.aio.AioRpcError as error:
        expect_equal("the status of an unknown service", error.code().name, "NOT_FOUND")
    else:
        raise Failed(f"an unknown service has the health {status}; expected NOT_FOUND")


@case("grpc.health-busy", "health answers at once while the model works", rules="P100", needs=[Need.PROBE])
async def health_busy(site: Site) -> str:
    """A second of scoring, and ten questions meanwhile."""
    scoring = asyncio.create_task(site.caller.score(site.inputs.command("sleep:1000")))
    slowest_s = 0.0
    for _ in range(10):
        asked = time.monotonic()
        expect_equal("the status", await _health(site, ""), 1)
        slowest_s = max(slowest_s, time.monotonic() - asked)
    expect(not scoring.done(), "the model had finished before health answered ten times")
    expect(slowest_s < 0.5, f"health took {slowest_s * 1000:.0f} ms while the model worked")
    await scoring
    return f"slowest {slowest_s * 1000:.0f} ms"


@case("grpc.reflection", "server reflection lists Score and Health", rules="P100")
async def reflection(site: Site) -> str:
    """The old name of the reflection service, or the new one."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    calls = {
        "v1alpha": reflection_pb2_grpc.ServerReflectionStub(site.caller.channel).ServerReflectionInfo,
        "v1": site.caller.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        ),
    }
    problems = []
    for version, method in calls.items():
        try:
            replies = [reply async for reply in method(iter([request]), timeout=5.0)]
        except grpc.aio.AioRpcError as error:
            problems.append(f"{version}: {error.code().name}")
            continue
        names = {service.name for reply in replies for service in reply.list_services_response.service}
        expect({SERVICE, _HEALTH} <= names, f"the services listed are {sorted(names)}")
        return f"reflection {version}"
    raise Failed(f"no reflection ({', '.join(problems)})")
