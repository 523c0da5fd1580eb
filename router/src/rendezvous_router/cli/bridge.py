"""`rendezvous bridge`."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rendezvous.spec import parse_duration
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.logs import configure_logs
from rendezvous_sdk.signals import heed_sigterm_early
from rich.markup import escape

from rendezvous_router.bridge import (
    BridgeError,
    BridgeOptions,
    MappingSpec,
    load_mapping,
    parse_address,
    parse_inputs,
    parse_outputs,
    run_bridge,
)
from rendezvous_router.cli._shared import NatsOption, error_console, nats_address


def bridge(
    endpoint: Annotated[str, typer.Option(envvar="RENDEZVOUS_ENDPOINT", help="Endpoint that the model joins.")],
    model: Annotated[
        str, typer.Option(envvar="RENDEZVOUS_MODEL", help="Name of the model in the endpoint, NAME or NAME:VERSION.")
    ],
    to: Annotated[
        str,
        typer.Option(
            help="The model server: grpc://host:port (service Score), or oip+grpc://host:port/model or "
            "oip+http://host:port/model (Open Inference Protocol; /version may follow); "
            "grpcs, oip+grpcs, oip+https: with TLS."
        ),
    ],
    ca: Annotated[
        Path | None, typer.Option(help="Authority of the model server's certificate, PEM, for grpcs:// and the like.")
    ] = None,
    cert: Annotated[
        Path | None, typer.Option(help="Certificate chain shown to the model server, PEM: mutual TLS.")
    ] = None,
    cert_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    inputs: Annotated[
        str | None,
        typer.Option(help="What the model's tensors are made of: tensor=column, tensor:FP32=\\[column,column], ..."),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(help="What the endpoint's columns are taken from: column=tensor, column=tensor[1], ..."),
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="The same and more as YAML; see the guide.")] = None,
    nats: NatsOption = None,
    enricher: Annotated[
        bool, typer.Option(help="It is an enricher of the endpoint: it adds columns before the models see them.")
    ] = False,
    stage: Annotated[
        int | None,
        typer.Option(help="Its stage; default: 1. Implies --enricher.", envvar="RENDEZVOUS_ENRICHER"),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Calls to the model server at one time.")] = 4,
    credit: Annotated[int, typer.Option(help="Parcels taken ahead of scoring; 0: twice the concurrency.")] = 0,
    max_rows: Annotated[int, typer.Option(help="Most rows of one call; waiting parcels are joined up to it.")] = 4096,
    timeout: Annotated[str, typer.Option(help="Deadline of one call.")] = "10s",
    scoring_limit: Annotated[
        str,
        typer.Option(envvar="RENDEZVOUS_SCORING_LIMIT", help="Limit of a table, whatever number of calls it takes."),
    ] = "60s",
    ack_wait: Annotated[
        str,
        typer.Option(
            envvar="RENDEZVOUS_ACK_WAIT", help="Without a sign of life for so long, a parcel goes to another replica."
        ),
    ] = "1s",
    grpc_port: Annotated[
        int | None,
        typer.Option(
            envvar="RENDEZVOUS_BRIDGE_PORT",  # RENDEZVOUS_GRPC_PORT is the model server's, often in one environment
            help="Port of gRPC health, 0 a free one; none: it is not served.",
        ),
    ] = None,
    grpc_host: Annotated[str, typer.Option(envvar="RENDEZVOUS_GRPC_HOST", help="Address to listen on.")] = "127.0.0.1",
    log_level: Annotated[
        str, typer.Option(envvar="RENDEZVOUS_LOG_LEVEL", help="debug, info, warning, error.")
    ] = "info",
    log_format: Annotated[str, typer.Option(envvar="RENDEZVOUS_LOG_FORMAT", help="text or json.")] = "text",
) -> None:
    """Joins a model server to an endpoint, until SIGTERM or Ctrl-C; then drains.

    Exit status: 0 drained, 1 serving failed, 2 the model server, the endpoint and the options do not fit together.
    """
    heed_sigterm_early()
    try:
        configure_logs(log_level, log_format)
        name, version = _split_model(model)
        options = BridgeOptions(
            endpoint=endpoint,
            name=name,
            version=version,
            to=parse_address(to),
            far_credentials=Credentials(ca=ca, cert=cert, cert_key=cert_key),
            mapping=_mapping(mapping, inputs, outputs),
            nats=nats_address(nats),
            concurrency=concurrency,
            credit=credit,
            max_rows=max_rows,
            timeout_s=_seconds("--timeout", timeout),
            scoring_limit_s=_seconds("--scoring-limit", scoring_limit),
            ack_wait_s=_seconds("--ack-wait", ack_wait),
            enricher=int(enricher) if stage is None else stage,
            grpc_port=grpc_port,
            grpc_host=grpc_host,
        )
        status = asyncio.run(run_bridge(options))
    except (BridgeError, InvalidRequestError) as error:
        error_console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(2) from error
    raise typer.Exit(status)


def _split_model(model: str) -> tuple[str, str]:
    """Returns name and version of `tree:2`; of `tree`, the version that the environment names, else 1."""
    name, _, version = model.partition(":")
    return name, version or os.environ.get("RENDEZVOUS_VERSION", "1")


def _mapping(file: Path | None, inputs: str | None, outputs: str | None) -> MappingSpec:
    """Returns the file's mapping; what the options say of a tensor or column goes before it."""
    read = load_mapping(file) if file is not None else MappingSpec()
    return msgspec.structs.replace(
        read,
        inputs={**read.inputs, **(parse_inputs(inputs) if inputs else {})},
        outputs={**read.outputs, **(parse_outputs(outputs) if outputs else {})},
    )


def _seconds(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidRequestError(f"{option}: {error}") from error
