"""`rendezvous key`: keys of clients and models."""

import datetime as dt
import time
from typing import Annotated, Any

import msgspec
import typer
from rendezvous.spec import parse_duration
from rendezvous_proto.errors import InvalidRequestError

from rendezvous_router.cli._register import TenantsOption, heed_errors, register_file
from rendezvous_router.cli._shared import JsonOption, cell, console, new_table, note, print_json
from rendezvous_router.tenants.keys import KeyRecord, make_key, new_record
from rendezvous_router.tenants.register import Register

app = typer.Typer(help=__doc__, no_args_is_help=True)

_TenantOption = Annotated[str | None, typer.Option("--tenant", help="The tenant; needed where there are several.")]


@app.command()
@heed_errors
def add(
    scope: Annotated[
        list[str], typer.Option(help="score, feedback, control, or model:ENDPOINT/NAME; may be repeated.")
    ],
    tenant: _TenantOption = None,
    version: Annotated[
        list[str] | None,
        typer.Option(help="Version of the model that may be served with it; may be repeated. Default: 1."),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="How long it is valid, for instance 90d or 12h.")] = None,
    note_: Annotated[str, typer.Option("--note", help="Whose it is, or what for.")] = "",
    tenants: TenantsOption = None,
    json: JsonOption = False,
) -> None:
    """Makes a key and prints it, once: only a salted hash is kept."""
    key = make_key()
    expires_unix_s = None if expires is None else int(time.time() + _duration_s(expires))
    record = new_record(key, scope, versions=version or (), expires_unix_s=expires_unix_s, note=note_)
    with register_file(tenants).change() as change:
        owner = _tenant(change.register, tenant)
        change.register = change.register.with_key(owner, record)
    if json:
        print_json({**_document(owner, record), "key": key.text})
        return
    typer.echo(key.text)
    note(f"key {key.id} of tenant {owner}: {', '.join(record.scopes)}. It is not shown again.")


@app.command("list")
@heed_errors
def list_keys(tenant: _TenantOption = None, tenants: TenantsOption = None, json: JsonOption = False) -> None:
    """Lists keys: their ids, never the keys."""
    register = register_file(tenants).read()
    names = [register.tenant(tenant).name] if tenant else list(register.tenants)
    records = [(name, record) for name in names for record in register.tenants[name].keys.values()]
    if json:
        print_json([_document(*each) for each in records])
        return
    table = new_table("key", "tenant", "scopes", "versions", "made", "state", "note")
    for name, record in records:
        scopes, versions = ", ".join(record.scopes), ", ".join(record.versions)
        made = _date(record.created_unix_s)
        table.add_row(
            record.id, name, cell(scopes), cell(versions or None), made, _state(record), cell(record.note or None)
        )
    console.print(table)


@app.command()
@heed_errors
def revoke(
    key_id: Annotated[
        str,
        typer.Argument(
            help="Id of the key, as `key list` shows it; not the key, which a shell would keep.", metavar="ID"
        ),
    ],
    tenants: TenantsOption = None,
) -> None:
    """Revokes a key: routers refuse it within a second, and its owner's connections to NATS are closed."""
    key_id = key_id.split("_")[1] if key_id.startswith("rv_") and key_id.count("_") > 1 else key_id
    with register_file(tenants).change() as change:
        owner, record = change.register.find_key(key_id)
        if record.revoked_unix_s is None:
            revoked = msgspec.structs.replace(record, revoked_unix_s=int(time.time()))
            change.register = change.register.with_key(owner.name, revoked)
    console.print(f"key {key_id} of tenant {owner.name} is revoked", highlight=False)


@app.command()
@heed_errors
def allow(
    key_id: Annotated[str, typer.Argument(help="Id of a model's key.", metavar="ID")],
    version: Annotated[list[str], typer.Option(help="Version that may be served with it too; may be repeated.")],
    tenants: TenantsOption = None,
) -> None:
    """Lets a model's key serve further versions."""
    with register_file(tenants).change() as change:
        owner, record = change.register.find_key(key_id)
        if not record.models:
            raise InvalidRequestError(f"key {key_id} serves no model: its scopes are {', '.join(record.scopes)}")
        versions = tuple(dict.fromkeys((*record.versions, *version)))
        change.register = change.register.with_key(owner.name, msgspec.structs.replace(record, versions=versions))
    console.print(f"key {key_id} serves the versions {', '.join(versions)}", highlight=False)


def _tenant(register: Register, name: str | None) -> str:
    if name is not None:
        return register.tenant(name).name
    if len(register.tenants) == 1:
        return next(iter(register.tenants))
    known = ", ".join(register.tenants)
    raise InvalidRequestError(
        f"--tenant is needed: there are {len(register.tenants)} ({known})"
        if known
        else "there is no tenant yet: rendezvous tenant add NAME"
    )


def _duration_s(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InvalidRequestError(f"--expires {text!r}: use a number with s, m, h or d, for instance 90d") from error
    if not 0 < seconds < 3.2e9:
        raise InvalidRequestError(f"--expires {text!r}: must be more than nothing, and less than a hundred years")
    return seconds


def _state(record: KeyRecord) -> str:
    if record.revoked_unix_s is not None:
        return f"revoked {_date(record.revoked_unix_s)}"
    if not record.is_valid(time.time()):
        return f"expired {_date(record.expires_unix_s or 0)}"
    return "valid" if record.expires_unix_s is None else f"valid until {_date(record.expires_unix_s)}"


def _date(unix_s: int) -> str:
    return dt.datetime.fromtimestamp(unix_s, dt.UTC).strftime("%Y-%m-%d %H:%M")


def _document(tenant: str, record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "tenant": tenant,
        "scopes": list(record.scopes),
        "versions": list(record.versions),
        "created_unix_s": record.created_unix_s,
        "expires_unix_s": record.expires_unix_s,
        "revoked_unix_s": record.revoked_unix_s,
        "note": record.note,
    }
