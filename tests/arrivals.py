"""Records that arrive when they are made, for tests that move through time by hand."""

import sqlalchemy as sa

from monitor.store.database import Database


def as_made(database: Database) -> None:
    """Let every record have arrived at its own time: windows are of what arrives in them."""
    database.run(lambda tx: tx.execute(sa.text("UPDATE records SET received_at = at")))
