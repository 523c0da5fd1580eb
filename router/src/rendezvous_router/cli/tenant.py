"""`rendezvous tenant`: who the tenants of this installation are, what they may use, what they share."""

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.postbox import check_name

from rendezvous_router.cli._register import TenantsOption, heed_errors, register_file
from rendezvous_router.cli._shared import JsonOption, cell, console, new_table, note, print_json
from rendezvous_router.limits import TenantLimits
from rendezvous_router.tenants.accounts import accounts_text
from rendezvous_router.tenants.register import Register, Share, Tenant, check_tenant

app = typer.Typer(help=__doc__, no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="Name of the tenant.", metavar="TENANT")]
_Limit = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=VALUE", help="A limit, may be repeated; `NAME=none` takes it away."),
]


@app.command()
@heed_errors
def add(
    name: _Name,
    limit: _Limit = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over what a tenant of this name, removed before, has left in NATS.")
    ] = False,
    tenants: TenantsOption = None,
    json: JsonOption = False,
) -> None:
    """Adds a tenant: an account of its own in NATS, endpoints and keys of its own."""
    file = register_file(tenants)
    is_first = not file.exists
    with file.change() as change:
        if check_tenant(name) in change.register.tenants:
            raise InvalidRequestError(f"tenant {name} is there already: see `rendezvous tenant list`")
        if name in change.register.former and not adopt:
            raise InvalidRequestError(
                f"a tenant {name} was removed, and what NATS has stored of it would be the new one's: "
                "choose another name, or say --adopt"
            )
        tenant = file.new_tenant(name, changed_limits(TenantLimits(), limit or []))
        change.register = change.register.with_tenant(tenant)
    if json:
        print_json(_document(tenant))
        return
    console.print(f"tenant {name} added; next: rendezvous key add --tenant {name} --scope score", highlight=False)
    if is_first:
        note("From the next start on every client and model needs a key; `rendezvous up` hands out its own models'.")


@app.command("list")
@heed_errors
def list_tenants(tenants: TenantsOption = None, json: JsonOption = False) -> None:
    """Lists the tenants."""
    register = register_file(tenants).read()
    if json:
        print_json([_document(tenant) for tenant in register.tenants.values()])
        return
    table = new_table("tenant", "since", "keys", "limits", "shares", "receives")
    for tenant in register.tenants.values():
        limits = ", ".join(f"{name}={value:g}" for name, value in _set_limits(tenant.limits).items())
        table.add_row(
            tenant.name,
            dt.datetime.fromtimestamp(tenant.created_unix_s, dt.UTC).date().isoformat(),
            str(sum(record.revoked_unix_s is None for record in tenant.keys.values())),
            cell(limits or None),
            cell(_shares(register, owner=tenant.name) or None),
            cell(_shares(register, receiver=tenant.name) or None),
        )
    console.print(table)


@app.command()
@heed_errors
def limits(name: _Name, limit: _Limit = None, tenants: TenantsOption = None, json: JsonOption = False) -> None:
    """Shows a tenant's limits, or changes them; routers heed them within a second."""
    file = register_file(tenants)
    if not limit:
        tenant = file.read().tenant(name)
    else:
        with file.change() as change:
            found = change.register.tenant(name)
            tenant = msgspec.structs.replace(found, limits=changed_limits(found.limits, limit))
            change.register = change.register.with_tenant(tenant)
    if json:
        print_json(_document(tenant)["limits"])
        return
    table = new_table("limit", "value")
    for each, value in msgspec.structs.asdict(tenant.limits).items():
        table.add_row(each, cell(value))
    console.print(table)


@app.command()
@heed_errors
def remove(
    name: _Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    tenants: TenantsOption = None,
) -> None:
    """Removes a tenant: its keys are refused, its account is closed. What NATS has stored of it stays on the disk."""
    file = register_file(tenants)
    file.read().tenant(name)
    if not yes:
        typer.confirm(f"Remove tenant {name}, its keys and its shares?", abort=True)
    with file.change() as change:
        change.register = change.register.without_tenant(name)
    console.print(f"tenant {name} removed", highlight=False)


@app.command()
@heed_errors
def share(
    endpoint: Annotated[str, typer.Argument(help="What is shared.", metavar="OWNER/ENDPOINT")],
    receiver: Annotated[str, typer.Argument(help="Tenant that receives every request to it.", metavar="RECEIVER")],
    alias: Annotated[
        str | None,
        typer.Option("--as", help="The receiver's own endpoint in whose postbox they arrive. Default: OWNER-ENDPOINT."),
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Share it no longer.")] = False,
    tenants: TenantsOption = None,
) -> None:
    """Lets another tenant's models see an endpoint's requests too. Its answers, scores and decisions stay apart."""
    owner, slash, name = endpoint.partition("/")
    if not slash:
        raise InvalidRequestError(f"{endpoint!r} names no endpoint: use OWNER/ENDPOINT, for instance bank/credit")
    wanted = Share(
        owner=owner,
        endpoint=check_name("endpoint", name),
        receiver=receiver,
        alias=check_name("endpoint", alias or f"{owner}-{name}"),
    )
    with register_file(tenants).change() as change:
        change.register = _without_share(change.register, wanted) if stop else _with_share(change.register, wanted)
    if stop:
        console.print(f"{endpoint} is no longer shared with {receiver}", highlight=False)
        return
    console.print(
        f"{receiver} receives the requests of {endpoint} in the postbox of its endpoint {wanted.alias}: "
        f"apply a specification of that name there, with the same inputs",
        highlight=False,
    )


@app.command("nats-config")
@heed_errors
def nats_config(tenants: TenantsOption = None) -> None:
    """Prints the accounts, users and permissions that an existing NATS installation needs; hashes, no keys.

    Include it in each server's configuration and reload: `nats-server --signal reload`. `rendezvous up` does so by
    itself. A key that expires is let in until the accounts are printed and reloaded again; the first line says when.
    """
    file = register_file(tenants)
    register = file.read(must_exist=True)
    now_s = dt.datetime.now(dt.UTC).timestamp()
    typer.echo(f"{_next_expiry(register, now_s)}{accounts_text(register, file.secret(), now_s)}", nl=False)


def _next_expiry(register: Register, now_s: float) -> str:
    """Returns a line of comment for the next key of NATS that expires; empty where none does."""
    expiring = [
        (record.expires_unix_s, record.id, tenant.name)
        for tenant in register.tenants.values()
        for record in tenant.keys.values()
        if record.uses_nats and record.is_valid(now_s) and record.expires_unix_s is not None
    ]
    if not expiring:
        return ""
    expires_s, key_id, tenant_name = min(expiring)
    when = dt.datetime.fromtimestamp(expires_s, dt.UTC).isoformat()
    return f"# print and reload these again at {when}: key {key_id} of tenant {tenant_name} expires then\n"


def changed_limits(limits: TenantLimits, changes: list[str]) -> TenantLimits:
    """Returns limits with changes like `requests_per_s=100` made.

    Raises:
        InvalidRequestError: a name is unknown, or a value no positive number.
    """
    known = TenantLimits.__struct_fields__
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if name not in known or not equals:
            raise InvalidRequestError(f"limit {change!r} is not known: use NAME=VALUE, NAME one of {', '.join(known)}")
        values[name] = None if text == "none" else text
    try:
        return msgspec.convert({**msgspec.to_builtins(limits), **values}, TenantLimits, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"limits {', '.join(changes)}: {error}") from error


def _with_share(register: Register, wanted: Share) -> Register:
    register.tenant(wanted.owner)
    register.tenant(wanted.receiver)
    if wanted.owner == wanted.receiver:
        raise InvalidRequestError(f"tenant {wanted.owner} need not share with itself")
    if wanted in register.shares:
        return register
    _check_not_shared(register, wanted)
    _check_no_cycle(register, wanted)
    taken = [each for each in register.shares if (each.receiver, each.alias) == (wanted.receiver, wanted.alias)]
    if taken:
        raise InvalidRequestError(
            f"endpoint {wanted.alias} of {wanted.receiver} receives {taken[0].owner}/{taken[0].endpoint} already: "
            "choose another name with --as"
        )
    return msgspec.structs.replace(register, shares=(*register.shares, wanted))


def _check_not_shared(register: Register, wanted: Share) -> None:
    for each in register.shares:
        if (each.owner, each.endpoint, each.receiver) == (wanted.owner, wanted.endpoint, wanted.receiver):
            raise InvalidRequestError(
                f"{wanted.receiver} receives {wanted.owner}/{wanted.endpoint} already, as {each.alias}: "
                "end that first, with --stop"
            )


def _check_no_cycle(register: Register, wanted: Share) -> None:
    """Refuses a share by which requests would come back to a tenant that has had them; nats-server would, too."""
    came_by = [wanted.owner]
    endpoint = wanted.endpoint
    while (earlier := _share_into(register, came_by[-1], endpoint)) is not None and earlier.owner not in came_by:
        came_by.append(earlier.owner)
        endpoint = earlier.endpoint
    for goes_by in _ways_on(register, wanted.receiver, wanted.alias):
        back = next((tenant for tenant in goes_by if tenant in came_by), None)
        if back is not None:
            way = " -> ".join([*reversed(came_by[: came_by.index(back) + 1]), *goes_by[: goes_by.index(back) + 1]])
            raise InvalidRequestError(
                f"{wanted.owner}/{wanted.endpoint} cannot be shared with {wanted.receiver} as {wanted.alias}: requests "
                f"would come back to {back} ({way}); end another of these shares first"
            )


def _share_into(register: Register, receiver: str, alias: str) -> Share | None:
    return next((each for each in register.shares if (each.receiver, each.alias) == (receiver, alias)), None)


def _ways_on(register: Register, tenant: str, endpoint: str, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the tenants that requests of an endpoint reach by shares, way by way, each tenant once."""
    way = (*before, tenant)
    yield way
    for each in register.shares:
        if (each.owner, each.endpoint) == (tenant, endpoint) and each.receiver not in way:
            yield from _ways_on(register, each.receiver, each.alias, way)


def _without_share(register: Register, wanted: Share) -> Register:
    kept = tuple(
        each
        for each in register.shares
        if (each.owner, each.endpoint, each.receiver) != (wanted.owner, wanted.endpoint, wanted.receiver)
    )
    if kept == register.shares:
        raise InvalidRequestError(f"{wanted.owner}/{wanted.endpoint} is not shared with {wanted.receiver}")
    return msgspec.structs.replace(register, shares=kept)


def _shares(register: Register, *, owner: str | None = None, receiver: str | None = None) -> str:
    return ", ".join(
        f"{each.owner}/{each.endpoint} to {each.receiver} as {each.alias}"
        for each in register.shares
        if owner == each.owner or receiver == each.receiver
    )


def _set_limits(limits: TenantLimits) -> dict[str, float]:
    return {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}


def _document(tenant: Tenant) -> dict[str, Any]:
    return {
        "tenant": tenant.name,
        "created_unix_s": tenant.created_unix_s,
        "limits": _set_limits(tenant.limits),
        "keys": sorted(tenant.keys),
    }
