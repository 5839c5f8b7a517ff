"""Look at the database, and at its standby."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.config.sections import Config
from monitor.daemon.checkup.diagnosis import Diagnosis, fault, fine, note
from monitor.daemon.database import (
    ROLES_PAGE,
    UnsupportedServer,
    other_database,
    served_database,
)
from monitor.postgres import PostgresError
from monitor.postgres.process import live_postmaster
from monitor.store import roles, schema, standby
from monitor.store.database import Database
from monitor.store.traffic import flags

MOST_APART_S: Final = 2.0
"""Seconds between two clocks, beyond which times in messages and records disagree."""

POOLER_PAGE: Final = "docs/operations.md#the-database"
Place = tuple[str, datetime]
"""A database's name, and when its server started: two addresses that agree lead to one."""


def check_database(config: Config) -> Iterator[Diagnosis]:
    """Look at the server as the service uses it; one that is embedded and stopped stays so.

    The other ways to it are looked at, too.
    """
    part, place = "database", None
    if not config.database.url:
        cluster = config.service.data_dir / "postgres" / "cluster"
        if not cluster.exists():
            yield note(part, "embedded: the first start makes it")
            return
        if live_postmaster(cluster) is None:
            yield note(part, "embedded, and stopped: it is looked at while the service runs")
            return
    try:
        with served_database(config) as database:
            server, connections, rights = (
                partial(look, config=config) for look in (_server, _connections, _rights)
            )
            for look in (server, _schema, _clock, connections, rights, _switch):
                yield from _asked(database, look)
            place = database.run(_place)
    except (PostgresError, UnsupportedServer) as error:
        yield fault(part, str(error))
    except sa.exc.SQLAlchemyError as error:
        yield _unreached(part, "database.url", error)
    for part, name in (("direct", "direct_url"), ("owner", "owner_url")):
        if config.database.url and getattr(config.database, name):
            yield _way(part, name, config, expected=place)


def _way(part: str, name: str, config: Config, *, expected: Place | None) -> Diagnosis:
    """Look whether another address leads to the database of ``url``, as far as that is known."""
    key = f"database.{name}"
    try:
        with other_database(config, name) as database:
            found = database.run(_place)
    except UnsupportedServer as error:
        return fault(part, str(error))
    except sa.exc.SQLAlchemyError as error:
        return _unreached(part, key, error)
    if expected is None:
        return fine(part, f"{key} is reached")
    if found != expected:
        told = f"{key} leads to another database than database.url"
        return fault(part, told, "let both name the same database of the same server")
    return fine(part, f"{key} leads to the same database")


def _place(tx: Connection) -> Place:
    name, started = tx.execute(
        sa.text("SELECT current_database(), pg_postmaster_start_time()")
    ).one()
    return name, started


def _asked(
    database: Database, look: Callable[[Connection], Diagnosis | None]
) -> Iterator[Diagnosis]:
    """Look in a transaction of its own, so that one that fails hides no other."""
    try:
        found = database.run(look)
    except sa.exc.ProgrammingError as error:
        yield fault("database", _reason(error))
    else:
        if found is not None:
            yield found


def _unreached(part: str, key: str, error: sa.exc.SQLAlchemyError) -> Diagnosis:
    """Say why a server is not used, and whether its certificate or a pooler is the reason."""
    advice = f"check {key}, and that the server runs and lets this machine in"
    if "unsupported startup parameter" in (reason := _reason(error)):
        past = "database.direct_url" if key == "database.url" else key
        advice = f"a pooler is on the way: let {past} lead past it ({POOLER_PAGE})"
    elif "certificate" in reason:
        advice = f"in {key}, name the host of its certificate, and its authority by sslrootcert"
    return fault(part, reason, advice)


def _reason(error: sa.exc.SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]


def _server(tx: Connection, *, config: Config) -> Diagnosis:
    version = tx.execute(sa.text("SHOW server_version")).scalar_one()
    return fine("database", f"PostgreSQL {version}{'' if config.database.url else ', embedded'}")


def _schema(tx: Connection) -> Diagnosis:
    part, revision = "schema", schema.revision(tx)
    if revision == schema.HEAD:
        return fine(part, f"{revision}, as this release")
    if revision is None:
        return note(part, "none yet: the first start makes it")
    told = f"{revision}, and this release needs {schema.HEAD}"
    if revision < schema.FIRST:
        return fault(part, told, "give it an empty database: docs/operations.md, Upgrades")
    newer = revision > schema.HEAD
    return fault(part, told, "run that release or a later one" if newer else "driftline migrate")


def _clock(tx: Connection) -> Diagnosis:
    before = datetime.now(UTC)
    there: datetime = tx.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    after = datetime.now(UTC)
    apart = max((before - there).total_seconds(), (there - after).total_seconds())
    if apart <= MOST_APART_S:
        return fine("clock", "the database's agrees with this machine's")
    told = f"the database's differs from this machine's by {apart:.0f} s"
    return fault("clock", told, "let both follow a time server")


def _connections(tx: Connection, *, config: Config) -> Diagnosis:
    used, most, reserved = tx.execute(_CONNECTIONS).one()
    takes = 2 * config.database.pool_size  # the pool may overflow by its own size
    told = f"{used} of {most} in use; each process of the service takes up to {takes}"
    if most - reserved - used < takes:
        advice = "raise max_connections, or lower database.pool_size"
        return note("connections", told, advice)
    return fine("connections", told)


_CONNECTIONS: Final = sa.text(
    "SELECT (SELECT sum(numbackends)::int FROM pg_stat_database),"
    " current_setting('max_connections')::int,"
    " current_setting('superuser_reserved_connections')::int"
    " + coalesce(current_setting('reserved_connections', true)::int, 0)"
)


def _rights(tx: Connection, *, config: Config) -> Diagnosis | None:
    """Look at the rights of the service's role; the embedded server's are its own."""
    if not config.database.url or not schema.at_head(tx):
        return None
    role = tx.execute(sa.text("SELECT current_user")).scalar_one()
    if roles.lacking(tx, role):
        return fault("rights", f"the role {role} lacks some", "driftline migrate grants them")
    if (excess := roles.excess(tx)) is not None:
        return note("rights", excess, f"see {ROLES_PAGE}")
    return fine("rights", f"the role {role} has what it needs, and no more")


def _switch(tx: Connection) -> Diagnosis | None:
    if not schema.at_head(tx):
        return None
    flag = flags.kill_switch(tx)
    if flag is None or not flag.on:
        return None
    return note(
        "kill switch",
        f"on by {flag.actor}: nothing moves traffic by itself ({flag.reason})",
        "PUT /v1/kill-switch takes it back",
    )


def check_standby(config: Config) -> Iterator[Diagnosis]:
    """Look at the server that pages are read from, if there is one."""
    part = "standby"
    if not config.database.standby_url:
        return
    try:
        with other_database(config, "standby_url") as database:
            yield database.run(_following)
    except UnsupportedServer as error:
        yield fault(part, str(error))
    except sa.exc.SQLAlchemyError as error:
        yield _unreached(part, "database.standby_url", error)


def _following(tx: Connection) -> Diagnosis:
    """Look at a standby as the service does before it reads pages there."""
    part = "standby"
    if not tx.execute(sa.text("SELECT pg_is_in_recovery()")).scalar_one():
        advice = "let database.standby_url name one that follows the server of database.url"
        return fault(part, "it is no standby, so pages are read from the primary", advice)
    late = standby.behind(tx) if schema.at_head(tx) else None
    if late is None:
        return note(part, "it has nothing of the service yet: pages are read from the primary")
    told = f"what the service wrote last is {late.total_seconds():.0f} s old there"
    if late > standby.MOST_BEHIND:
        advice = "unless the service is stopped, it is behind: pages are read from the primary"
        return note(part, told, advice)
    return fine(part, told)
