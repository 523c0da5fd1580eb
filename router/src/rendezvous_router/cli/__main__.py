"""`python -m rendezvous_router.cli`: the command `rendezvous`."""

from rendezvous_router.cli import app

app()
