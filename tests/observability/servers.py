"""Jaeger, the collector and Prometheus as plain processes, with the configuration of `compose/observability`."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from rendezvous_router.nats_server import find_free_port

from tests.support.processes import Process

CONFIGURATION = Path(__file__).parents[2] / "compose" / "observability"
T = TypeVar("T")
_WAIT_S = 30.0


def fetch(url: str) -> str:
    """Returns the body that *url* answers."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode()


def run_logging(command: Sequence[str], *, log: Path, ready: str, env: Mapping[str, str] | None = None) -> Process:
    """Starts a program that logs to standard error when it is ready."""
    return Process(["sh", "-c", 'exec "$@" 2>&1', "sh", *command], log=log, ready=ready, env=env)


class JaegerServer:
    """Jaeger, with the configuration that compose mounts."""

    def __init__(self, program: Path, folder: Path) -> None:
        ports = {name: find_free_port() for name in ("GRPC", "HTTP", "QUERY", "QUERY_GRPC", "HEALTH", "METRICS")}
        self.otlp = f"127.0.0.1:{ports['GRPC']}"
        """Where it takes spans by OTLP over gRPC."""
        self.query = f"http://127.0.0.1:{ports['QUERY']}"
        """Its pages and its API."""
        self.process = run_logging(
            [str(program), "--config", str(CONFIGURATION / "jaeger.yaml")],
            log=folder / "jaeger.log",
            ready=".*Everything is ready",
            env={"JAEGER_HOST": "127.0.0.1", **{f"JAEGER_{name}_PORT": str(port) for name, port in ports.items()}},
        )
        self.environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.otlp}",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        """Makes a process send its spans here, soon after each."""

    def wait_ready(self) -> None:
        """Waits until it answers."""
        self.process.wait_ready()

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """Returns a trace as Jaeger's API gives it; None while it knows none of that id."""
        try:
            found: list[dict[str, Any]] = json.loads(fetch(f"{self.query}/api/traces/{trace_id}"))["data"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return found[0] if found else None

    def search(self, service: str, tags: Mapping[str, str], **more: str) -> set[str]:
        """Returns the ids of the traces in which a span of *service* has the *tags*."""
        asked = urllib.parse.urlencode({"service": service, "tags": json.dumps(dict(tags)), "limit": "100", **more})
        return self.found_at(f"{self.query}/api/traces?{asked}")

    def found_at(self, url: str) -> set[str]:
        """Returns the ids of the traces that a search finds."""
        return {found["traceID"] for found in json.loads(fetch(url))["data"]}


class PrometheusServer:
    """Prometheus, with the configuration that compose mounts; only addresses and intervals are others.

    Args:
        program: Prometheus.
        folder: for its configuration and its files.
        targets: `host:port` to scrape, by job.
    """

    def __init__(self, program: Path, folder: Path, targets: Mapping[str, Sequence[str]]) -> None:
        configuration = yaml.safe_load((CONFIGURATION / "prometheus.yaml").read_text())
        configuration["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        configuration["rule_files"] = [str(CONFIGURATION / "alerts.yaml")]
        configuration["scrape_configs"] = [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]} for job, addresses in targets.items()
        ]
        path = folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(configuration))
        self.address = f"127.0.0.1:{find_free_port()}"
        self.process = run_logging(
            [
                str(program),
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address={self.address}",
            ],
            log=folder / "prometheus.log",
            ready=".*Server is ready to receive web requests",
        )
        self.process.wait_ready()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Returns what an expression gives now: a list of `metric` (labels) and `value`.

        Raises:
            AssertionError: Prometheus does not understand it.
        """
        url = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        try:
            answer = json.loads(fetch(url))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expr}: {error.read().decode()}") from error
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Returns every rule with its health and its last error."""
        groups = json.loads(fetch(f"http://{self.address}/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def wait_for(look: Callable[[], T | None], what: str, *, within_s: float = _WAIT_S) -> T:
    """Returns what *look* finds, as soon as it finds something that counts as true.

    Raises:
        AssertionError: it found nothing in time.
    """
    give_up = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < give_up, f"not within {within_s:g} s: {what}"
        time.sleep(0.1)
    return found
