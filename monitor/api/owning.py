"""What a team's key changes must be its own: names are looked up among its adapters first."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from monitor.api.paths import LARGEST_NUMBER, decode_name
from monitor.api.problems import Problem
from monitor.store import teams
from monitor.store.database import Database
from monitor.store.people.keys import Key


def check_path(database: Database, key: Key, params: Mapping[str, str]) -> None:
    """Refuse a team's key what the path names, unless it is the team's.

    Raises
    ------
    Problem
        404 for what the team does not see, 403 where the path names nothing of one adapter.
    """
    if not key.match:
        return
    named = {kind: value for kind, value in params.items() if kind in teams.OWNED}
    if not named:
        raise of_the_whole(key)
    database.run(lambda tx: check(tx, key, **named))


def check(tx: Connection, key: Key, **named: object) -> None:
    """Raise the 404 if the key does not see what is named; it sees everything without a team."""
    if not key.match:
        return
    for kind, value in named.items():
        known = _read(kind, str(value))
        if known is None or not teams.sees(tx, key.match, {kind: known}):
            missing = f"No adapter is called {known!r}." if kind == "adapter" else None
            detail = missing or f"There is no {kind} {value}."
            raise Problem(404, detail, kind=f"unknown-{kind}")


def of_the_whole(key: Key) -> Problem:
    """Return the 403 for what is of no single adapter."""
    return Problem(
        403,
        f"This is of the whole installation; key {key.name!r} is bound to some adapters.",
        kind="not-yours",
    )


def _read(kind: str, text: str) -> object | None:
    """Return the value that the database is asked for; None if there can be none."""
    try:
        if kind == "adapter":
            return decode_name(text)
        number = int(text)
    except ValueError:
        return None
    return number if 1 <= number <= LARGEST_NUMBER else None
