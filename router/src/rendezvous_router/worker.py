"""One router process: event loop, signals, front door."""

import asyncio
import gc
import logging
import os
import signal
import sys

import uvloop
from rendezvous_sdk.logs import add_log_fields
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.app import new_router_id
from rendezvous_router.door import Door
from rendezvous_router.options import RouterOptions
from rendezvous_router.reception import Reception
from rendezvous_router.rest.door import RestDoor
from rendezvous_router.telemetry.exporters import check_metrics_environment
from rendezvous_router.telemetry.outlook import CLOSE_S, Outlook, router_resource
from rendezvous_router.telemetry.tracing import Tracing
from rendezvous_router.tenants.current import current_tenant
from rendezvous_router.tenants.routers import TenantRouters
from rendezvous_router.tls import ServerTls

HEALTH_S = 0.25
"""How often the health service learns whether the postbox is connected."""

SWITCH_S = 0.0005
"""Longest time that the exporter's thread, which encodes spans in Python, keeps the interpreter from the event loop.
Python's default is ten times as long."""

GC_THRESHOLDS = (5_000, 20, 500)
"""Net allocations between collections of the youngest generation, and collections of one between those of the next."""

_log = logging.getLogger(__name__)


def run_worker(options: RouterOptions, *, reuse_port: bool = False) -> None:
    """Runs a router until SIGTERM or SIGINT, then drains it. Returns when it has ended in an orderly way."""
    uvloop.run(_serve(options, reuse_port=reuse_port))


async def _serve(options: RouterOptions, *, reuse_port: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _ask_to_stop, stop, number)
    router_id = new_router_id()
    resource = router_resource(router_id)
    check_metrics_environment(os.environ)
    tracing = Tracing.from_environment(resource)
    if tracing is not None:
        sys.setswitchinterval(SWITCH_S)
    routers = TenantRouters(options, router_id, tracing)
    starting = asyncio.create_task(routers.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    await starting
    add_log_fields(router=router_id, tenant=current_tenant)
    shown = Outlook(routers, resource)
    reception = Reception(routers)
    tls = None if options.tls_files is None else ServerTls(options.tls_files)
    door = Door(reception, options, tls=tls, reuse_port=reuse_port)
    rest = RestDoor(
        reception, options, page=shown.routes(), tls=tls.ssl_context() if tls else None, reuse_port=reuse_port
    )
    try:
        metrics_port = await shown.open(options.metrics_host, options.metrics_port)
        grpc_port, rest_port = await door.open(), await rest.open()
        grpc, rest_url = f"{options.host}:{grpc_port}", f"{'https' if tls else 'http'}://{options.host}:{rest_port}"
        routers.serve_at(grpc, rest=rest_url)
        await door.set_serving(not routers.why_not_ready)
        print(
            f"ready: router {router_id}, grpc {grpc}, rest {rest_url}, "
            f"metrics http://{options.metrics_host}:{metrics_port}/metrics",
            flush=True,
        )
        _tame_garbage_collector()
        health = asyncio.create_task(_report_health(routers, door))
        certificates = asyncio.create_task(tls.watch()) if tls is not None else None
        parent = asyncio.create_task(_follow_parent(stop)) if reuse_port else None
        await stopping
        await end_tasks(health, certificates, parent)
    finally:
        routers.refuse_new()
        closing = asyncio.gather(door.close(options.drain_s), rest.close(options.drain_s))
        try:
            await routers.drain()
            await closing
            await shown.close()
        finally:
            if tracing is not None:
                await asyncio.to_thread(tracing.close, CLOSE_S)
    print(f"stopped: router {router_id}", flush=True)


def _tame_garbage_collector() -> None:
    """Keeps full collections rare and others small: each stops everything, and 100 ms are a deadline missed.

    What lives now lives for good. Requests, parcels and their scores are freed by their reference counts, because
    closing a parcel breaks its cycles (`OpenParcel.close`). What is left is of grpcio, whose search for a method's
    handler makes a cycle of five objects at each call: after 1,000 calls they are gone in 2 to 8 ms, after 10,000
    it took 110 to 140 ms, since by then they are in nobody's cache.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _ask_to_stop(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        _log.warning("second signal (%s): ending at once", number.name)
        sys.exit(128 + number)
    stop.set()


async def _follow_parent(stop: asyncio.Event) -> None:
    """Ends this worker when the process that started it is gone: nobody else would."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 # the system tells nobody of a parent's death
        await asyncio.sleep(HEALTH_S)
    _log.warning("the parent process is gone: this worker drains and ends")
    stop.set()


async def _report_health(routers: TenantRouters, door: Door) -> None:
    was_serving: bool | None = None
    while True:
        is_serving = not routers.why_not_ready
        if is_serving != was_serving:
            await door.set_serving(is_serving)
            was_serving = is_serving
        await asyncio.sleep(HEALTH_S)
