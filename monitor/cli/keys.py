"""Commands about keys, directly in the database: a person who can run them can read it anyway."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.cli import options, screen
from monitor.cli.failures import CommandFailed, failing
from monitor.domain import Scope

app = options.CommandGroup("Create, list and revoke API keys.")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who or what uses the key.")],
    scope: Annotated[list[Scope], typer.Option(help="What the key may do; may be repeated.")],
    days: Annotated[
        int | None, typer.Option(min=1, help="Days until the key expires; never when left out.")
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE of the adapters it is for: adapter, owner, tier or a label;"
            " repeat for several. Not with the scope admin; all if left out."
        ),
    ] = None,
    per_minute: Annotated[
        int | None,
        typer.Option(
            min=1, help="Requests that a gateway passes on in a minute. With the scope ask."
        ),
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option(help="File with the text of a key made elsewhere; run again freely."),
    ] = None,
    config: options.Config = None,
) -> None:
    """Create a key and print it this once; only its hash is stored."""
    from monitor.store import audit, clock
    from monitor.store.people import keys

    if not 1 <= len(name) <= 128 or not name.isprintable():  # noqa: PLR2004 (as all names)
        raise CommandFailed("a key's name has 1 to 128 printable characters")
    bound: dict[str, list[str]] = {}
    for key_of, value in map(options.pair, match or []):
        bound.setdefault(key_of, []).append(value)
    details = {"name": name, "match": bound} if bound else {"name": name}
    given = None
    if from_file is not None:
        with failing(OSError, ValueError, of=f"cannot read {from_file}"):
            given = from_file.read_text(encoding="utf-8").strip()
    with options.database(config) as database, database.begin() as tx:
        now = clock.now(tx)
        more: dict[str, Any] = {
            "name": name,
            "scopes": scope,
            "expires_at": now + timedelta(days=days) if days else None,
            "match": bound,
            "per_minute": per_minute,
        }
        with failing(ValueError):
            if given is None:
                key, text = keys.create(tx, **more)
                is_new = True
            else:
                key, is_new = keys.adopt(tx, given, now=now, **more)
        if is_new:
            audit.append(tx, actor="cli", act="key created", subject=key.id, details=details)
    if given is not None:
        screen.note(f"key {key.id} for {name}{'' if is_new else ' is known'}")
        return
    screen.note(f"key {key.id} for {name}; it is shown this once:")
    typer.echo(text)


@app.command("list")
def list_(config: options.Config = None) -> None:
    """List keys without their secrets."""
    from monitor.store.people import keys

    with options.database(config) as database:
        found = database.run(keys.fetch_all)
    screen.table(
        "keys",
        [
            "id",
            "name",
            "scopes",
            "only for",
            "a minute",
            "created",
            "expires",
            "last used",
            "revoked",
        ],
        [
            [
                key.id,
                key.name,
                " ".join(sorted(scope.value for scope in key.scopes)),
                " ".join(f"{fact}={one}" for fact, of in sorted(key.match.items()) for one in of)
                or "-",
                "-" if key.per_minute is None else f"{key.per_minute:,}",
                _day(key.created_at),
                _day(key.expires_at),
                _day(key.last_used_at),
                _day(key.revoked_at),
            ]
            for key in found
        ],
        none="no key; `driftline keys create NAME --scope read` creates one",
    )


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id that `keys list` shows.")],
    config: options.Config = None,
) -> None:
    """Revoke a key; services refuse it within seconds."""
    from monitor.store import audit, clock
    from monitor.store.people import keys

    with options.database(config) as database, database.begin() as tx:
        if not keys.revoke(tx, key_id, now=clock.now(tx)):
            raise CommandFailed(f"no key {key_id!r} that is not revoked already")
        audit.append(tx, actor="cli", act="key revoked", subject=key_id)
    screen.say(f"revoked {key_id}")


def _day(at: datetime | None) -> str:
    return "-" if at is None else at.strftime("%Y-%m-%d %H:%M")
