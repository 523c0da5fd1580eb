"""A bridge as a process: signals, the ready line, exit status."""

import asyncio
import logging

from rendezvous_sdk.logs import add_log_fields
from rendezvous_sdk.signals import drain_on_signals
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.bridge.bridge import Bridge
from rendezvous_router.bridge.errors import BridgeError
from rendezvous_router.bridge.options import BridgeOptions

__all__ = ["run_bridge"]

_log = logging.getLogger(__name__)

_DRAIN_LIMIT_S = 8.5


async def run_bridge(options: BridgeOptions) -> int:
    """Serves until SIGTERM or SIGINT, then drains; a second signal ends the process at once.

    Prints one line on standard output when it serves, as models do.

    Args:
        options: what is joined to what.

    Returns:
        Exit status: 0 after a drain, 1 when serving failed or the drain took too long.

    Raises:
        BridgeError: model server, endpoint and mapping do not fit together.
    """
    stop = asyncio.Event()
    drain_on_signals(stop)
    bridge = Bridge(options)
    add_log_fields(endpoint=options.endpoint, model=options.name, version=options.version, replica=bridge.replica)
    serving = asyncio.create_task(_serve_until_failed(bridge))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    failure = serving.exception() if serving.done() else None
    status = 0
    if serving.done():
        status = 1
        if failure is None:
            _log.error("the connection to NATS was closed for good")
        elif not isinstance(failure, BridgeError):
            _log.error("serving failed: %s: %s", type(failure).__name__, failure, exc_info=failure)
    await end_tasks(serving, stopping)
    if not await _drain(bridge):
        status = 1
    if isinstance(failure, BridgeError):
        raise failure
    return status


async def _serve_until_failed(bridge: Bridge) -> None:
    await bridge.start()
    options = bridge.options
    door = "http" if options.to.scheme.endswith("http") else "grpc"
    print(
        f"ready: model {options.name}:{options.version} of endpoint {options.endpoint}, "
        f"replica {bridge.replica}, {door} {options.to.target}",
        flush=True,
    )
    await bridge.wait_failed()


async def _drain(bridge: Bridge) -> bool:
    try:
        async with asyncio.timeout(_DRAIN_LIMIT_S):
            await bridge.stop()
    except TimeoutError:
        _log.error("not drained within %g s: what is still being scored comes again elsewhere", _DRAIN_LIMIT_S)
        return False
    return True
