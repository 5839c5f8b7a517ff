"""The table of commands."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from monitor.cli import (
    actions,
    adapters,
    admit,
    backups,
    budget,
    canary,
    changes,
    channels,
    deliveries,
    discover,
    incidents,
    inspect,
    keys,
    new,
    opening,
    parity,
    plan,
    receipt,
    reference,
    replay,
    report,
    retention,
    retraining,
    routes,
    running,
    selftest,
    silences,
    status,
)
from monitor.cli.examples import add_examples
from monitor.cli.explaining import explain

app = typer.Typer(
    name="driftline",
    help="Watches LoRA adapters in production: notices drift, says so, and acts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:  # noqa: FBT001 (as Typer calls it)
    if wanted:
        typer.echo(f"driftline {installed_version('driftline')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Watches LoRA adapters in production: notices drift, says so, and acts."""


app.command("serve")(running.serve)
app.command("gateway")(running.gateway)
app.command("migrate")(running.migrate)
app.command("backup")(backups.backup)
app.command("restore")(backups.restore)
app.command("check-config")(running.check_config)
app.command("status")(status.status)
app.command("open")(opening.open_page)
app.command("evaluate")(adapters.evaluate)
app.command("discover")(discover.discover)
app.command("new")(new.new)
app.command("explain")(explain)
app.command("budget")(budget.budget)
app.command("plan")(plan.plan)
app.command("receipt")(receipt.receipt)
app.command("actions")(actions.actions)
app.command("report")(report.report)
app.command("replay")(replay.replay)
app.command("selftest")(selftest.selftest)
app.command("inspect")(inspect.inspect)
app.command("parity")(parity.parity)
app.command("admit")(admit.admit)
app.command("demo")(running.demo)
app.add_typer(reference.app, name="reference")
app.add_typer(incidents.app, name="incident")
app.add_typer(canary.app, name="canary")
app.add_typer(routes.app, name="route")
app.add_typer(retraining.app, name="retraining")
app.add_typer(changes.app, name="change")
app.add_typer(channels.app, name="channels")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(silences.app, name="silence")
app.add_typer(retention.app, name="retention")
app.add_typer(keys.app, name="keys")

add_examples(app)
