"""An S3 server for tests, in a process of its own: moto's, spoken to over HTTP as any other."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow.fs import S3FileSystem
from rendezvous_router.nats_server import find_free_port

KEY = "test-key"
SECRET = "test-secret"  # opens a server that lives for one test
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What a process that uses the server needs in its environment."""
_START_TIMEOUT_S = 40.0


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """Yields `s3://archive/records?...`, a URL for `pyarrow.fs`, of a bucket that is there and empty."""
    port = find_free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            _wait_for(server, port, log)
            _make_bucket(port)
            yield f"s3://archive/records?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
        finally:
            server.kill()


def _wait_for(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    give_up = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < give_up and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the S3 server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _make_bucket(port: int) -> None:
    S3FileSystem(
        access_key=KEY,
        secret_key=SECRET,
        endpoint_override=f"127.0.0.1:{port}",
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    ).create_dir("archive")
