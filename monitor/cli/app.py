"""The table of commands."""

from __future__ import annotations

import typer

from monitor.cli import adapters, keys, reference, report, running

app = typer.Typer(
    name="driftline",
    help="Watches LoRA adapters in production: notices drift, says so, and acts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("serve")(running.serve)
app.command("migrate")(running.migrate)
app.command("check-config")(running.check_config)
app.command("status")(adapters.status)
app.command("evaluate")(adapters.evaluate)
app.command("explain")(adapters.explain)
app.command("budget")(adapters.budget)
app.command("report")(report.report)
app.add_typer(reference.app, name="reference")
app.add_typer(keys.app, name="keys")
