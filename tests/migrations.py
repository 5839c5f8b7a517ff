"""A release with one migration more than this one, for tests of upgrades."""

import os
from importlib import resources
from pathlib import Path

import pytest
from alembic.config import Config
from sqlalchemy import Connection

from monitor.store import schema

NEXT = "9000"
_MIGRATION = """
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute({statement!r})
"""


def release_with(monkeypatch: pytest.MonkeyPatch, folder: Path, statement: str) -> None:
    """Add a migration after the newest, which runs this statement, until the test ends."""
    added = folder / "added_migrations"
    added.mkdir()
    body = _MIGRATION.format(revision=NEXT, before=schema.HEAD, statement=statement)
    (added / f"{NEXT}_pre_later.py").write_text(body)
    places = [str(resources.files("migrations") / "versions"), str(added)]
    of_this_release = schema.alembic_config

    def config(connection: Connection | None = None) -> Config:
        made = of_this_release(connection)
        made.set_main_option("path_separator", "os")
        made.set_main_option("version_locations", os.pathsep.join(places))
        return made

    monkeypatch.setattr(schema, "alembic_config", config)
    monkeypatch.setattr(schema, "HEAD", NEXT)
