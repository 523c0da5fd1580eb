"""Measures `rendezvous compare` over ten million scores: time, and the peak of its memory.

```
python -m bench.compare [--requests 5000000] [--truth 0.1] [--folder FOLDER]
```

The archive is made up (about 450 MB for five million requests of two models) and kept, if a folder is named. The
target is less than 10 s on two cores that do nothing else, and less than 1 GiB. Beside the time of the whole command,
a new process with its imports, it counts what that used of the processors.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.support.synthetic_archives import TRIO, ArchivePlan, write_archive

TARGET_S, TARGET_MIB = 10.0, 1024
_BATCH = 100_000


def measure(folder: Path) -> dict[str, Any]:
    """Compares the archive's two models by the command, in a process of its own.

    Returns:
        Seconds, seconds of processors, MiB at the peak, and how many requests were compared.
    """
    command = [str(Path(sys.executable).with_name("rendezvous")), "compare", "boosted", "logit", "--json"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*command, "--archive", str(folder)], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "requests": json.loads(done.stdout)["pairing"]["requests"],
        "seconds": round(seconds, 2),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "peak_mib": after.ru_maxrss // 1024,
        "load_before": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
    }


def main(
    requests: Annotated[int, typer.Option(help="Requests; each has a score of two models.")] = 5_000_000,
    truth: Annotated[float, typer.Option(help="Share of the requests whose truth is known.")] = 0.1,
    folder: Annotated[Path | None, typer.Option(help="Where the archive is, or is made.")] = None,
) -> None:
    """Makes an archive, unless it is there, compares two models, and prints what that took as JSON."""
    with tempfile.TemporaryDirectory(prefix="rendezvous-bench-") as temporary:
        root = (folder or Path(temporary)) / f"compare-{requests}-{truth:g}"
        if not root.exists():
            plan = ArchivePlan(requests=requests, models=TRIO[:2], truth=truth, batch_requests=min(requests, _BATCH))
            write_archive(root, plan)
        found = measure(root)
    within = found["seconds"] < TARGET_S and found["peak_mib"] < TARGET_MIB
    print(json.dumps({**found, "target_s": TARGET_S, "target_mib": TARGET_MIB, "within": within}, indent=2))


if __name__ == "__main__":
    typer.run(main)
