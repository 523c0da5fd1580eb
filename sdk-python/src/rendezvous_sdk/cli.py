"""The command `rendezvous-model`."""

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rendezvous_proto.errors import InvalidRequestError, RendezvousError

from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.environment import parse_duration_s, parse_since
from rendezvous_sdk.logs import configure_logs
from rendezvous_sdk.model import Model, as_model
from rendezvous_sdk.options import DEFAULT_NATS, ServeOptions
from rendezvous_sdk.scorers import is_model_file, load_model_file
from rendezvous_sdk.serve import serve_with
from rendezvous_sdk.signals import heed_sigterm_early

app = typer.Typer(help="Serves a model of a Rendezvous endpoint.", no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Serves a model of a Rendezvous endpoint."""


@app.command()
def serve(
    target: Annotated[
        str, typer.Argument(help="package.module:name, or a file (.skops, .onnx, .joblib), or an MLflow folder.")
    ],
    endpoint: Annotated[str, typer.Option(help="Endpoint that the model belongs to.", envvar="RENDEZVOUS_ENDPOINT")],
    name: Annotated[
        str | None, typer.Option(help="Name of the model; default: the target's.", envvar="RENDEZVOUS_MODEL")
    ] = None,
    version: Annotated[str, typer.Option(help="Version of the model.", envvar="RENDEZVOUS_VERSION")] = "1",
    nats: Annotated[str, typer.Option(help="Address of NATS.", envvar="RENDEZVOUS_NATS")] = DEFAULT_NATS,
    grpc_port: Annotated[
        int, typer.Option(help="Port of the Score service; 0 takes a free one.", envvar="RENDEZVOUS_GRPC_PORT")
    ] = 0,
    grpc_host: Annotated[str, typer.Option(help="Address to listen on.", envvar="RENDEZVOUS_GRPC_HOST")] = "127.0.0.1",
    key_file: Annotated[
        Path | None, typer.Option(help="File with the key that NATS asks for; or RENDEZVOUS_KEY.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="Authority of NATS's certificate, PEM; or RENDEZVOUS_CA.")] = None,
    cert: Annotated[
        Path | None, typer.Option(help="Own certificate chain for mutual TLS, PEM; or RENDEZVOUS_CERT.")
    ] = None,
    cert_key: Annotated[Path | None, typer.Option(help="Its private key, PEM; or RENDEZVOUS_CERT_KEY.")] = None,
    replicas: Annotated[int, typer.Option(help="Processes; dead ones are started again.")] = 1,
    ack_wait: Annotated[
        str,
        typer.Option(
            help="Without a sign of life for so long, a parcel goes to another replica.", envvar="RENDEZVOUS_ACK_WAIT"
        ),
    ] = "1s",
    scoring_limit: Annotated[
        str,
        typer.Option(help="Scoring one table is interrupted after so long.", envvar="RENDEZVOUS_SCORING_LIMIT"),
    ] = "60s",
    since: Annotated[
        str | None,
        typer.Option(
            help="Where a new version begins in the postbox: 30d, an ISO time, all; default: now. What is older than "
            "this process is scored although its deadline has passed.",
            envvar="RENDEZVOUS_SINCE",
        ),
    ] = None,
    enricher: Annotated[
        bool, typer.Option(help="It is an enricher: it adds columns to requests before the models see them.")
    ] = False,
    stage: Annotated[
        int | None,
        typer.Option(
            help="Its stage, as the endpoint's specification has it; default: 1. Implies --enricher.",
            envvar="RENDEZVOUS_ENRICHER",
        ),
    ] = None,
    credit: Annotated[int, typer.Option(help="Parcels taken ahead of scoring.")] = 4,
    outputs: Annotated[str | None, typer.Option(help="Names of the output columns, separated by commas.")] = None,
    postbox: Annotated[bool, typer.Option(help="Read the endpoint's postbox.")] = True,
    grpc: Annotated[bool, typer.Option(help="Serve gRPC.")] = True,
    trust_pickle: Annotated[
        bool, typer.Option(help="Load files that run code when they are loaded (pickle, joblib, MLflow).")
    ] = False,
    trust_type: Annotated[
        list[str] | None, typer.Option(help="A type that a skops file may contain; may be given again.")
    ] = None,
    log_level: Annotated[
        str, typer.Option(envvar="RENDEZVOUS_LOG_LEVEL", help="debug, info, warning, error.")
    ] = "info",
    log_format: Annotated[str, typer.Option(envvar="RENDEZVOUS_LOG_FORMAT", help="text or json.")] = "text",
) -> None:
    """Serves one model until SIGTERM or Ctrl-C, then drains."""
    heed_sigterm_early()
    try:
        configure_logs(log_level, log_format)
        model = load_target(target, outputs=outputs, trust_pickle=trust_pickle, trusted_types=trust_type or [])
        options = ServeOptions(
            endpoint=endpoint,
            name=name or model.name,
            version=version,
            nats=nats,
            grpc_port=grpc_port,
            grpc_host=grpc_host,
            replicas=replicas,
            ack_wait_s=parse_duration_s(ack_wait),
            scoring_limit_s=parse_duration_s(scoring_limit),
            since=parse_since(since) if since else None,
            enricher=int(enricher) if stage is None else stage,
            credit=credit,
            postbox=postbox,
            grpc=grpc,
            credentials=Credentials.read(key=key_file, ca=ca, cert=cert, cert_key=cert_key),
        )
    except (RendezvousError, ImportError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(serve_with(model, options))


def load_target(target: str, *, outputs: str | None, trust_pickle: bool, trusted_types: list[str]) -> Model:
    """Returns the model that a target of `serve` names.

    Args:
        target: `package.module:name`, a file (.skops, .onnx, .joblib) or an MLflow folder.
        outputs: names of the output columns, separated by commas; None: the model's own.
        trust_pickle: whether files that run code when they are loaded may be loaded.
        trusted_types: types that a skops file may contain.

    Raises:
        InvalidRequestError: there is no such target, or it is no model.
        ImportError: a package that it needs is not installed.
    """
    names = [part.strip() for part in outputs.split(",")] if outputs else None
    if is_model_file(target):
        return load_model_file(Path(target), outputs=names, trust_pickle=trust_pickle, trusted_types=trusted_types)
    return as_model(import_target(target), outputs=names)


def import_target(target: str) -> object:
    """Imports `package.module:name`; the working folder is searched first.

    Raises:
        InvalidRequestError: the text is malformed, the module is not found or has no such name.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise InvalidRequestError(
            f"{target!r} is neither a file that exists nor package.module:name, as in credit.models:score"
        )
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise InvalidRequestError(f"module {module_name!r} not found in {folder} or on the path") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InvalidRequestError(f"module {module_name!r} has no {attribute!r}")
        found = getattr(found, part)
    return found
