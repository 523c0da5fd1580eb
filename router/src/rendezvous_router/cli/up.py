"""`rendezvous up`."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from rendezvous_sdk.archive.layout import shown_root

from rendezvous_router.cli._shared import JsonOption, cell, console, new_table, note, print_json, run
from rendezvous_router.project import load_project, load_spec
from rendezvous_router.running import RunningProject
from rendezvous_router.supervisor import ChildEvent

_FILE = Path("rendezvous.yaml")


def up(
    nats: Annotated[
        str | None,
        typer.Option(envvar="RENDEZVOUS_NATS", help="Use this nats-server instead of starting one."),
    ] = None,
    project: Annotated[Path, typer.Option(help="Project file.")] = _FILE,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", envvar="RENDEZVOUS_INSECURE", help="Serve others than this machine without keys and TLS."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Runs a project on this machine: nats-server, router, archive and models, until Ctrl-C.

    Processes that die are started again. Logs: .rendezvous/logs beside the project file.
    """
    run(_up(nats, project, project.absolute().parent, insecure=insecure, as_json=json))


async def _up(nats: str | None, path: Path, folder: Path, *, insecure: bool, as_json: bool) -> None:
    project = load_project(path)
    specs = [load_spec(folder / name) for name in project.endpoints]
    running = RunningProject(project, folder, specs, nats_url=nats, insecure=insecure, on_event=_tell, on_step=note)
    asked_to_stop = _listen_for_signals(running)
    starting = asyncio.create_task(running.start())
    stopping = asyncio.create_task(asked_to_stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            _show(running, as_json=as_json)
            await stopping
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.wait({starting, stopping})
        note("stopping")
        await running.stop()


def _listen_for_signals(running: RunningProject) -> asyncio.Event:
    """Returns an event that the first SIGINT or SIGTERM sets; a second one ends every process at once."""
    asked = asyncio.Event()

    def heed() -> None:
        if asked.is_set():
            running.kill()
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, heed)
    return asked


def _tell(event: ChildEvent) -> None:
    if event.kind == "died":
        note(f"{event.name} died (status {event.status}); again in {event.pause_s:g} s")


def _show(running: RunningProject, *, as_json: bool) -> None:
    processes: list[dict[str, Any]] = [
        {"name": name, "pid": pid, "restarts": restarts, "log": str(log)}
        for name, pid, restarts, log in running.processes()
    ]
    if as_json:
        print_json(
            {
                "nats": running.nats_url,
                "grpc": running.grpc_address,
                "rest": running.rest_address,
                "archive": running.archive,
                "endpoints": [spec.endpoint for spec in running.specs],
                "models": [
                    {"name": model.name, "ready": model.is_ready, "replicas": list(model.replicas)}
                    for model in running.models
                ],
                "processes": processes,
            }
        )
        return
    table = new_table("what", "where", "pid")
    doors = f"grpc {running.grpc_address}, rest {running.rest_address}"
    places = {"nats": running.nats_url, "router": doors, "archive": shown_root(running.archive)}
    for model in running.models:
        addresses = ", ".join(replica["grpc"] for replica in model.replicas)
        places[f"model-{model.name}"] = addresses if model.is_ready else f"not ready, see {model.log}"
    for process in processes:
        place = places.get(process["name"]) or places.get(process["name"].rpartition("-")[0], "")
        table.add_row(process["name"], cell(place), cell(process["pid"]))
    console.print(table)
    console.print("ready: Ctrl-C stops everything", highlight=False)
