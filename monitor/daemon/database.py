"""Open the database of a config, embedded or by URL, migrated and ready."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from monitor.config.database import DatabasePart
from monitor.config.sections import Config
from monitor.domain import Scope
from monitor.postgres import EmbeddedPostgres
from monitor.store import audit, roles, schema
from monitor.store.database import Database
from monitor.store.passwords import PasswordCommand
from monitor.store.people import keys
from monitor.store.room import DiskRoom

_LOG = structlog.get_logger(__name__)

ROLES_PAGE = "docs/operations.md#roles-of-the-database"
FIRST_KEY_LOCK = 0x64726966
"""Advisory lock: two daemons that start together make one admin key."""
OLDEST_SERVER = 150_000
SHORTEST_PAUSE = timedelta(seconds=5)


class UnsupportedServer(Exception):  # noqa: N818 (says what is wrong by its name)
    """The server is older than PostgreSQL 15."""


@contextmanager
def opened_database(settings: Config | DatabasePart) -> Iterator[Database]:
    """Open and migrate the config's database, starting the embedded server if configured."""
    with _reached(settings) as place, _connected(settings, place, place.service) as database:
        if settings.database.migrates:
            _migrate(database, place)
        else:
            schema.wait_for_head(database)
        yield database


@contextmanager
def found_database(settings: Config) -> Iterator[Database]:
    """Open the database as its owner, unmigrated, with any schema."""
    with _reached(settings) as place, _connected(settings, place, place.owner) as database:
        yield database


@contextmanager
def served_database(settings: Config) -> Iterator[Database]:
    """Open the database as the service does, unmigrated, with any schema."""
    with _reached(settings) as place, _connected(settings, place, place.service) as database:
        yield database


@contextmanager
def other_database(settings: Config, name: str) -> Iterator[Database]:
    """Open another address of ``[database]``, such as ``direct_url``, as the service uses it."""
    with _reached(settings) as place:
        url = _with_driver(getattr(settings.database, name))
        with _connected(settings, place, url, key=f"database.{name}") as database:
            yield database


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDatabase:
    """One database: its addresses for the service's role and the tables' owner, and its room."""

    service: str
    owner: str
    """Past any pooler: migrations take a lock of their session."""
    direct: str | None = None
    """The service's address past a pooler; None: there is none on the way."""
    standby: str | None = None
    """The service's address at a standby, from which pages are read."""
    password: PasswordCommand | None = None
    room: DiskRoom


@contextmanager
def _reached(settings: Config | DatabasePart) -> Iterator[ServiceDatabase]:
    """Find the config's database, starting the embedded server if configured."""
    section = settings.database
    if section.url:
        service = _with_driver(section.url)
        direct = _with_driver(section.direct_url) if section.direct_url else None
        owner = _with_driver(section.owner_url) if section.owner_url else direct or service
        command = section.password_command
        yield ServiceDatabase(
            service=service,
            owner=owner,
            direct=direct,
            standby=_with_driver(section.standby_url) if section.standby_url else None,
            password=PasswordCommand(command) if command else None,
            room=DiskRoom(),
        )
        return
    prepare_folder(settings.service.data_dir)
    with EmbeddedPostgres(
        settings.service.data_dir, settings=settings.database.embedded
    ) as embedded:
        yield ServiceDatabase(
            service=embedded.service_url, owner=embedded.url, room=DiskRoom(embedded.reserve.short)
        )


@contextmanager
def _connected(
    settings: Config | DatabasePart, place: ServiceDatabase, url: str, *, key: str = "database.url"
) -> Iterator[Database]:
    at_standby = url if url == place.standby else None  # as a pooler on the way would need it
    database = Database(
        url,
        direct=place.direct if url == place.service else at_standby,
        standby=place.standby if url == place.service else None,
        password=place.password,
        pool_size=settings.database.pool_size,
        # at least the pauses of a busy machine; others wait for the lease anyway
        longest_pause=max(settings.schedule.lease, SHORTEST_PAUSE),
        room=place.room,
    )
    try:
        database.run(partial(_check_server, key=key))
        yield database
    finally:
        database.close()


def _migrate(database: Database, place: ServiceDatabase) -> None:
    """Migrate as the owner, who grants the service's role its rights if the two differ."""
    if place.owner == place.service:
        schema.migrate(database)
        return
    service, migrates = make_url(place.service).username, make_url(place.owner).username
    owner = Database(place.owner, password=place.password, pool_size=2)
    try:
        schema.migrate(owner, service=None if service == migrates else service)
    finally:
        owner.close()


def warn_of_rights(database: Database) -> None:
    """Warn if the service's role has more rights than the service needs."""
    excess = database.run(roles.excess)
    if excess is not None:
        _LOG.warning("database_role_may_more", reason=excess, see=ROLES_PAGE)


def prepare_folder(folder: Path) -> None:
    """Create the data folder, readable by nobody else."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def write_first_key(database: Database, data_dir: Path) -> Path | None:
    """Create the first run's admin key in a 0600 file; None if there already is one."""
    prepare_folder(data_dir)
    path = data_dir / "admin.key"

    def work(tx: Connection) -> Path | None:
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(FIRST_KEY_LOCK)))
        usable = [
            key
            for key in keys.fetch_all(tx)
            if Scope.ADMIN in key.scopes and key.revoked_at is None
        ]
        if usable:
            return None
        key, text = keys.create(tx, name="admin of the first run", scopes=[Scope.ADMIN])
        audit.append(tx, actor="driftline", act="key created", subject=key.id)
        write_private(path, f"{text}\n".encode())
        return path

    return database.run(work)


def write_private(path: Path, content: bytes) -> None:
    """Write a secret so that no other account can ever read it."""
    beside = path.with_suffix(f".{secrets.token_hex(4)}")
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _check_server(tx: Connection, *, key: str) -> None:
    version = int(tx.execute(sa.text("SHOW server_version_num")).scalar_one())
    if version < OLDEST_SERVER:
        raise UnsupportedServer(
            f"{key} leads to PostgreSQL {version // 10_000}; 15 or newer is needed"
        )


def _with_driver(url: str) -> str:
    """Accept ``postgresql://``, the usual form of addresses."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url
