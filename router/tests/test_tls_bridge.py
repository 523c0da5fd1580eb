"""The bridge's far side over TLS: the same model server, by gRPC and by HTTP, with a certificate asked for."""

import json
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_router.bridge.address import parse_address
from rendezvous_router.bridge.bridge import open_far
from rendezvous_router.bridge.errors import FarWaitError
from rendezvous_router.bridge.options import BridgeOptions
from rendezvous_router.tls import ServerTls, TlsFiles
from rendezvous_router.tls.development import make_certificates
from rendezvous_sdk.credentials import Credentials


class _Model(v1.ScoreServicer):
    def Describe(self, _request: v1.DescribeRequest, _context: object) -> v1.ModelInfo:  # noqa: N802 - gRPC's name
        return v1.ModelInfo(language="none")


class _Oip(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"name": "m", "inputs": [], "outputs": [], "ready": True}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


class _Http(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of handshakes that fail: they are meant to."""


@pytest.fixture(name="certs")
def fixture_certs(tmp_path: Path) -> Path:
    """A folder of certificates."""
    make_certificates(tmp_path / "certs")
    return tmp_path / "certs"


@pytest.fixture(name="ports")
def fixture_ports(certs: Path) -> Iterator[dict[str, int]]:
    """Ports of the model server by scheme; it asks for clients' certificates."""
    tls = ServerTls(TlsFiles(cert=certs / "router.pem", key=certs / "router-key.pem", client_ca=certs / "ca.pem"))
    server = grpc.server(ThreadPoolExecutor(2))
    v1.add_ScoreServicer_to_server(_Model(), server)  # type: ignore[no-untyped-call] # generated
    port = server.add_secure_port("127.0.0.1:0", tls.grpc_credentials())
    server.start()
    http = _Http(("127.0.0.1", 0), _Oip)
    http.socket = _wrapped(http, tls.ssl_context())
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    yield {"grpcs": port, "oip+https": http.server_port}
    http.shutdown()
    thread.join()
    http.server_close()
    server.stop(0).wait()


def _wrapped(http: ThreadingHTTPServer, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)


def options(scheme: str, port: int, credentials: Credentials) -> BridgeOptions:
    """A bridge to the model server."""
    model = "/m" if scheme.startswith("oip") else ""
    to = parse_address(f"{scheme}://127.0.0.1:{port}{model}")
    return BridgeOptions(endpoint="e", name="m", to=to, far_credentials=credentials)


@pytest.mark.parametrize("scheme", ["grpcs", "oip+https"])
def test_mutual_tls_to_the_model_server(scheme: str, ports: dict[str, int], certs: Path, tmp_path: Path) -> None:
    """With authority and certificate the model is described; with another authority or none, it is waited for."""
    own = {"cert": certs / "client.pem", "cert_key": certs / "client-key.pem"}
    far = open_far(options(scheme, ports[scheme], Credentials(ca=certs / "ca.pem", **own)))
    far.describe(5.0)
    far.close()
    make_certificates(tmp_path / "other")
    for wrong in (
        Credentials(ca=tmp_path / "other" / "ca.pem", **own),
        Credentials(ca=certs / "ca.pem"),
        Credentials(),
    ):
        far = open_far(options(scheme, ports[scheme], wrong))
        with pytest.raises(FarWaitError):
            far.describe(3.0)
        far.close()


def test_certificates_for_an_address_without_tls_are_refused(certs: Path) -> None:
    """They would mean nothing; the message names the scheme to write."""
    with pytest.raises(InvalidRequestError, match="write grpcs://"):
        options("grpc", 1, Credentials(ca=certs / "ca.pem"))


@pytest.mark.parametrize("text", ["grpcs://h:1", "oip+grpcs://h:1/m", "oip+https://h:1/m/2"])
def test_addresses_with_tls(text: str) -> None:
    """They are read and written alike."""
    address = parse_address(text)
    assert (address.tls, str(address)) == (True, text)
