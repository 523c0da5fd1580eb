"""What the numbers were measured on."""

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

import psutil
from rendezvous_router.nats_server import find_binary

from bench.processes import ROOT

_PACKAGES = ("grpcio", "protobuf", "nats-py", "numpy", "scikit-learn", "uvloop", "msgspec")
_FLUSHES = 200


def describe_machine() -> dict[str, str]:
    """Returns processor, memory, disk, kernel and versions, for people."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "flush_to_disk": f"{measure_flush_ms():.2f} ms (median of {_FLUSHES} fsyncs of 4 KiB)",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nats-server": _output([find_binary(), "--version"]),
        **{name: metadata.version(name) for name in _PACKAGES},
        "commit": _output(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
    }


def measure_flush_ms() -> float:
    """Returns the median time of a 4 KiB write and its fsync, on the disk of the checkout, in milliseconds."""
    folder = ROOT / ".rendezvous"
    folder.mkdir(exist_ok=True)
    path = folder / "flush-test"
    times = []
    with path.open("wb") as file:
        for _ in range(_FLUSHES):
            started = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return sorted(times)[len(times) // 2] * 1000.0


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
