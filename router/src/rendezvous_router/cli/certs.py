"""`rendezvous certs`."""

from pathlib import Path
from typing import Annotated

import typer
from rendezvous_proto.errors import InvalidRequestError

from rendezvous_router.cli._shared import JsonOption, cell, console, fail, new_table, note, print_json
from rendezvous_router.project import STATE_FOLDER
from rendezvous_router.tls import TlsError
from rendezvous_router.tls.development import DAYS, DEFAULT_HOSTS, MadeFile, make_certificates

DEFAULT_FOLDER = Path(STATE_FOLDER) / "certs"
"""Where certificates are made unless another folder is named."""


def certs(
    out: Annotated[Path, typer.Option(help="Folder of the certificates.")] = DEFAULT_FOLDER,
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or address that router and nats-server are reached at; may be given again. "
            f"Default: {', '.join(DEFAULT_HOSTS)}.",
            show_default=False,
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="Days that a certificate is good for.")] = DAYS,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A further client (or model) that gets a certificate; may be given again."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Makes an authority and certificates for development; run again, it renews what expires soon.

    The authority's key lies in the folder, unencrypted: for production take certificates of an authority that is
    looked after. Existing authorities that this command did not make are left alone.
    """
    try:
        made = make_certificates(out, hosts=host or None, days=days, names=name or ())
    except (TlsError, InvalidRequestError) as error:
        fail(str(error))
    if json:
        print_json([_document(each) for each in made])
        return
    table = new_table("certificate", "file", "", "until")
    for each in made:
        what = f"{each.action}: {each.reason}" if each.reason else each.action
        table.add_row(cell(each.name), cell(each.path), cell(what), f"{each.until:%Y-%m-%d}")
    console.print(table)
    note(
        f"router: --cert {out / 'router.pem'} --cert-key {out / 'router-key.pem'}; "
        f"clients: RENDEZVOUS_CA={out / 'ca.pem'}"
    )


def _document(made: MadeFile) -> dict[str, str]:
    return {
        "name": made.name,
        "cert": str(made.path),
        "key": str(made.path.with_name(f"{made.path.stem}-key.pem")),
        "action": made.action,
        "reason": made.reason,
        "until": made.until.isoformat(timespec="seconds"),
    }
