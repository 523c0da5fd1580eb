"""What the processes of a running project need to get in: addresses that may be listened on, keys, certificates.

Without a register and certificates: nothing, and everybody on this machine is let in. `rendezvous tenant add` makes
the register, `rendezvous certs` the certificates (project field `certs`).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rendezvous_proto.errors import InvalidRequestError
from rendezvous_sdk.credentials import Credentials

from rendezvous_router.nats_server import NatsServer
from rendezvous_router.project import STATE_FOLDER, Project
from rendezvous_router.tenants.tenancy import Tenancy
from rendezvous_router.tls import check_exposure
from rendezvous_router.tls.nats import NatsTls

__all__ = ["TENANTS_FOLDER", "Passes"]

TENANTS_FOLDER = "tenants"
"""Folder of the register, in the state folder."""


class Passes:
    """See the module's docstring.

    Args:
        project: what runs.
        folder: folder of the project file.
        insecure: whether others than this machine may be served without keys and TLS.

    Raises:
        InvalidRequestError: certificates are missing, or the register cannot be read.
        TlsError: the address may not be listened on.
    """

    def __init__(self, project: Project, folder: Path, *, insecure: bool = False) -> None:
        self.tenancy = Tenancy.of((folder / STATE_FOLDER / TENANTS_FOLDER).absolute(), project.tenant)
        self._host = project.host
        self._insecure = insecure
        self._certs = None if project.certs is None else (folder / project.certs).absolute()
        if self._certs is not None:
            for name in ("ca", "router", "router-key", "nats", "nats-key", "client", "client-key"):
                self._pem(name)
        check_exposure(
            project.host,
            has_keys=self.tenancy is not None,
            has_tls=self._certs is not None,
            insecure=insecure,
        )

    def nats_server(self, store: Path, port: int, *, relaxed: bool) -> NatsServer:
        """Returns the nats-server to be run: an account a tenant, and mutual TLS where there are certificates."""
        tenancy = self.tenancy
        return NatsServer(
            store=store,
            port=port,
            relaxed=relaxed,
            accounts=None if tenancy is None else tenancy.accounts,
            heir=None if tenancy is None else tenancy.own,
            tls=None
            if self._certs is None
            else NatsTls(cert=self._pem("nats"), key=self._pem("nats-key"), ca=self._pem("ca"), verify=True),
        )

    def router_options(self) -> list[str]:
        """Returns the router's options."""
        options = ["--host", self._host]
        if self._certs is not None:
            options += ["--cert", str(self._pem("router")), "--cert-key", str(self._pem("router-key"))]
        if self.tenancy is not None:
            options += ["--tenants", str(self.tenancy.folder)]
        return [*options, "--insecure"] if self._insecure else options

    def environment(self, role: str, tenant: str | None = None) -> Mapping[str, str]:
        """Returns the variables of a process.

        Args:
            role: `router` (which makes its keys itself), `decoy` or `models`.
            tenant: whose account; None: the project's own.
        """
        shown: dict[str, str] = {}
        if self._certs is not None:
            shown |= {
                "RENDEZVOUS_CA": str(self._pem("ca")),
                "RENDEZVOUS_CERT": str(self._pem("client")),
                "RENDEZVOUS_CERT_KEY": str(self._pem("client-key")),
            }
        if self.tenancy is not None:
            key = "" if role == "router" else self.tenancy.key(role, tenant).text
            shown |= {
                "RENDEZVOUS_KEY": key,
                "RENDEZVOUS_KEY_FILE": "",
                "RENDEZVOUS_TENANT": tenant or self.tenancy.own,
            }
        return shown

    def credentials(self, tenant: str | None = None) -> Credentials:
        """Returns what opens a tenant's account to the operator; *tenant* None: the project's own."""
        shown = Credentials.read()
        if self._certs is not None:
            shown = replace(shown, ca=self._pem("ca"), cert=self._pem("client"), cert_key=self._pem("client-key"))
        return shown if self.tenancy is None else replace(shown, key=self.tenancy.key("router", tenant))

    def _pem(self, name: str) -> Path:
        assert self._certs is not None, "asked for only where there are some"
        path = self._certs / f"{name}.pem"
        if not path.is_file():
            raise InvalidRequestError(
                f"certs: {path} is missing: make it with `rendezvous certs --out {self._certs}`",
                {"path": str(path)},
            )
        return path
