"""What the R client shows to a server: its key with each call, over TLS, and the same request id again."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rendezvous_proto.v1 import model_pb2, score_pb2, score_pb2_grpc

from tests.support.languages import require_language
from toolchains.languages import R_LIBRARY

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]
else:
    Context = grpc.aio.ServicerContext

SECRET = "b" * 52
KEY = f"rv_{'a' * 12}_{SECRET}"
PAUSE_S = 0.3

ASK = """
library(rendezvous)
client <- rdv_client(commandArgs(TRUE), endpoint = "e", timeout = 5)
answer <- rdv_score(client, data.frame(x = 1))
for (each in rdv_stream(client, list(list(x = 2), list(x = 3)))) stopifnot(each$x > 1)
stopifnot(identical(rdv_score_table(client, data.frame(x = 1:5 + 0), chunk_rows = 2, progress = FALSE)$x, 1:5 + 0))
print(client)
str(client)
"""


class Recorder(score_pb2_grpc.ScoreServicer):
    """Echoes; refuses the first unary request for a while; notes what each call shows."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, object]] = []
        self.ids: list[tuple[str, float]] = []

    def _note(self, method: str, context: Context) -> None:
        metadata = dict(context.invocation_metadata() or ())
        self.shown.append((method, metadata.get("authorization")))

    async def Describe(  # noqa: N802 (gRPC's name)
        self, request: score_pb2.DescribeRequest, context: Context
    ) -> model_pb2.ModelInfo:
        """Tells a name and no columns."""
        self._note("Describe", context)
        return model_pb2.ModelInfo(name="echo", version="1")

    async def Score(  # noqa: N802 (gRPC's name)
        self, request: score_pb2.ScoreRequest, context: Context
    ) -> score_pb2.ScoreReply:
        """Echoes, but the first time."""
        self._note("Score", context)
        self.ids.append((request.request_id, asyncio.get_running_loop().time()))
        if len(self.ids) == 1:
            context.set_trailing_metadata((("retry-after-ms", str(int(PAUSE_S * 1000))),))
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "later")
        return score_pb2.ScoreReply(request_id=request.request_id, model="echo", version="1", outputs=request.inputs)

    async def ScoreStream(  # noqa: N802 (gRPC's name)
        self, requests: AsyncIterator[score_pb2.ScoreRequest], context: Context
    ) -> AsyncIterator[score_pb2.ScoreReply]:
        """Echoes each."""
        self._note("ScoreStream", context)
        async for request in requests:
            yield score_pb2.ScoreReply(request_id=request.request_id, model="echo", version="1", outputs=request.inputs)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Writes a certificate of localhost that is its own authority; returns its file and that of its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(pem, form, plain))
    return cert_file, key_file


@pytest.mark.parametrize("mutual", [False, True])
async def test_the_key_is_shown_with_every_call_over_tls(tmp_path: Path, mutual: bool) -> None:
    """Calls and streams carry the key; a request refused for now comes again, by its id, after the pause asked for."""
    require_language("r")
    cert, key = make_certificate(tmp_path)
    recorder = Recorder()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    score_pb2_grpc.add_ScoreServicer_to_server(recorder, server)  # type: ignore[no-untyped-call] # generated
    pair = [(key.read_bytes(), cert.read_bytes())]
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials(pair, cert.read_bytes(), mutual))
    await server.start()
    own = {"RENDEZVOUS_CERT": str(cert), "RENDEZVOUS_CERT_KEY": str(key)} if mutual else {}
    env = {"RENDEZVOUS_KEY": KEY, "RENDEZVOUS_CA": str(cert), **own}
    try:
        ended = await asyncio.to_thread(ask, f"localhost:{port}", env)
    finally:
        await server.stop(0)
    assert ended.returncode == 0, ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
    assert {method for method, _ in recorder.shown} == {"Describe", "Score", "ScoreStream"}
    assert {shown for _, shown in recorder.shown} == {f"Bearer {KEY}"}
    (first, at), (second, again) = recorder.ids
    assert first == second
    assert again - at >= PAUSE_S


def ask(address: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the R program against *address*, with *env* and no more of ours in its environment."""
    command = ["Rscript", "-e", ASK, address]
    path = {"PATH": os.environ["PATH"], "R_LIBS": os.environ.get("R_LIBS", str(R_LIBRARY))}
    return subprocess.run(command, env=path | env, capture_output=True, text=True, timeout=60, check=False)
