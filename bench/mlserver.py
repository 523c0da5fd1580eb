"""(c) MLServer with the same three models, in an environment of its own because its pins may differ from ours."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

from rendezvous_router.nats_server import find_free_port

from bench.processes import ROOT, running, wait_for
from bench.systems import System, Workshop

_INSTALLED = "installed.txt"
_ESTIMATORS = ("boosted", "logit", "forest")
_INSTALL_TIMEOUT_S = 600.0
_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class NotInstallableError(RuntimeError):
    """MLServer could not be installed; the message says why."""


def environment() -> Path:
    """Returns the folder of MLServer's environment: `$XDG_CACHE_HOME/rendezvous/mlserver-venv`, outside the tree."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rendezvous" / "mlserver-venv"


def ensure_installed() -> Path:
    """Installs MLServer into `environment()` unless it is there as it should be; returns its Python.

    Raises:
        NotInstallableError: pip failed, or took more than 10 minutes.
    """
    folder = environment()
    python = folder / "bin" / "python"
    # MLServer 1.7's workers do not start with later ones: they ask for a current loop where there is none.
    uvloop = "uvloop<0.22"
    wanted = [
        "mlserver",
        "mlserver-sklearn",
        uvloop,
        *(f"{name}=={metadata.version(name)}" for name in ("scikit-learn", "skops", "pandas")),
    ]
    installed = folder / _INSTALLED
    if installed.exists() and installed.read_text().split() == wanted:
        return python
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", *wanted])
    except (subprocess.SubprocessError, OSError) as error:
        output = getattr(error, "stderr", None) or str(error)
        raise NotInstallableError(f"MLServer could not be installed: {output.strip().splitlines()[-1]}") from error
    installed.write_text("\n".join(wanted))
    return python


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)


@contextmanager
def mlserver(workshop: Workshop, *, parallel: bool) -> Iterator[System]:
    """MLServer holding the three credit models; one request asks all three at once and waits for all.

    Args:
        workshop: where to keep files.
        parallel: run models in its worker processes, its default; else in the server's own process.

    Raises:
        NotInstallableError: it is not there and could not be installed.
        ChildError: it did not start.
    """
    python = ensure_installed()
    names = [f"m{number}" for number in range(1, len(_ESTIMATORS) + 1)]
    folder = workshop.folder / f"mlserver-{'workers' if parallel else 'one'}"
    http_port = _write_settings(folder, dict(zip(names, _ESTIMATORS, strict=True)), parallel=parallel)
    _run_in_checkout([str(python), "-m", "bench.mlserver_runtime", str(workshop.folder), *names])
    with running([str(python.parent / "mlserver"), "start", str(folder)], log=workshop.log("mlserver")) as child:
        wait_for(lambda: _is_ready(http_port), child=child)
        yield System(
            address=f"127.0.0.1:{json.loads((folder / 'settings.json').read_text())['grpc_port']}",
            payloads=[workshop.folder / f"mlserver-{name}.bin" for name in names],
            method=_METHOD,
            parse=False,
            others=[child],
        )


def _run_in_checkout(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstallableError(f"MLServer's environment does not work: {done.stderr.strip().splitlines()[-1]}")


def _write_settings(folder: Path, models: dict[str, str], *, parallel: bool) -> int:
    """Writes MLServer's configuration; returns its HTTP port."""
    ports = {f"{kind}_port": find_free_port() for kind in ("http", "grpc", "metrics")}
    settings = {
        "host": "127.0.0.1",
        **ports,
        "parallel_workers": 1 if parallel else 0,
        "debug": False,
        "logging_settings": None,
    }
    for name, estimator in models.items():
        (folder / name).mkdir(parents=True)
        model = {
            "name": name,
            "implementation": "bench.mlserver_runtime.CreditRuntime",
            "parameters": {"extra": {"estimator": estimator}},
        }
        (folder / name / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps(settings))
    return ports["http_port"]


def _is_ready(port: int) -> bool | None:
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.client.OK or None
    return None
