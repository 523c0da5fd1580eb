"""The file by which a running project tells other commands its addresses: `.rendezvous/state.json`."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rendezvous_router.project import STATE_FOLDER

_FILE = "state.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningState:
    """Where a running project can be reached."""

    nats: str
    """Address of nats-server."""
    grpc: str
    """Address of the gRPC front door, `host:port`."""
    rest: str = ""
    """Address of the REST front door, a URL."""
    archive: str
    """Folder of the archive."""
    tenant: str = "default"
    """Tenant whose the project is."""
    certs: str = ""
    """Folder of its certificates; empty: no TLS."""
    pid: int
    """Process of `rendezvous up`."""


def write_state(folder: Path, state: RunningState) -> None:
    """Writes the state file of the project in *folder*."""
    path = folder / STATE_FOLDER / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    temporary.write_text(json.dumps(asdict(state), indent=2) + "\n")
    temporary.rename(path)


def remove_state(folder: Path) -> None:
    """Removes the state file of the project in *folder*."""
    (folder / STATE_FOLDER / _FILE).unlink(missing_ok=True)


def find_state(start: Path) -> RunningState | None:
    """Returns the state of the project that runs in *start* or a folder above it; None when none does."""
    for folder in (start, *start.parents):
        path = folder / STATE_FOLDER / _FILE
        try:
            state = RunningState(**json.loads(path.read_text()))
        except (OSError, TypeError, ValueError):
            continue  # no file, or one that another version wrote: as if nothing ran there
        if _is_alive(state.pid):
            return state
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def find_state_folder(start: Path) -> Path:
    """Returns the state folder of the project in *start* or a folder above it; that of *start* where there is none."""
    for folder in (start, *start.parents):
        if (folder / STATE_FOLDER).is_dir():
            return folder / STATE_FOLDER
    return start / STATE_FOLDER
