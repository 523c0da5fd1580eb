"""The command line `rendezvous`."""

import typer

from rendezvous_router.cli import (
    archive,
    archive_upkeep,
    backtest,
    bridge,
    certs,
    compare,
    conformance,
    explain,
    feedback,
    health,
    history,
    key,
    mirror,
    model_test,
    models,
    replay,
    score,
    specs,
    sql,
    tenant,
    up,
)

__all__ = ["app"]

app = typer.Typer(
    name="rendezvous",
    help="One endpoint, several models, one answer on time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("up")(up.up)
app.command("apply")(specs.apply)
app.command("get")(specs.get)
app.command("describe")(specs.describe)
app.command("delete")(specs.delete)
app.command("history")(history.history)
app.command("rollback")(history.rollback)
app.command("score")(score.score)
app.command("explain")(explain.explain)
app.command("models")(models.models)
app.command("health")(health.health)
app.command("sql")(sql.sql)
app.command("compare")(compare.compare)
app.command("certs")(certs.certs)
app.command("replay")(replay.replay)
app.command("mirror")(mirror.mirror)
app.command("backtest")(backtest.backtest)
app.command("bridge")(bridge.bridge)
app.command("conformance")(conformance.conformance)
app.command("test")(model_test.model_test)
archive_upkeep.add_commands(archive.app)
app.add_typer(archive.app, name="archive")
app.add_typer(feedback.app, name="feedback")
app.add_typer(tenant.app, name="tenant")
app.add_typer(key.app, name="key")
