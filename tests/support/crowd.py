"""Many open connections, in a process of their own: `python -m tests.support.crowd HOST PORT COUNT rest|grpc`.

Says `ready COUNT` with the number that it got, and holds them until it is ended.
"""

import resource
import signal
import socket
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""What an HTTP/2 client begins with: the preface, and settings of nothing."""
SPARE_FILES = 64


def main(host: str, port: str, count: str, kind: str) -> None:
    """Opens *count* connections, as many as this process may, and holds them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = int(count) if hard == resource.RLIM_INFINITY else min(int(count), hard - SPARE_FILES)
    wires = []
    for _ in range(wanted):
        wires.append(socket.create_connection((host, int(port)), timeout=30))
        wires[-1].sendall(PREFACE if kind == "grpc" else b"GET /healthz HT")
    print(f"ready {len(wires)}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
