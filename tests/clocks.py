"""Clocks that a test moves: the one of running processes, by libfaketime, and a database's.

The monotonic clock goes on as it is, as it does when NTP or a person sets the other one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from monitor.store.database import Database
from monitor.store.tables.columns import NOW, metadata
from tests.tools import needs

LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/faketime/libfaketimeMT.so.1"),
)
LIBRARY = next((one for one in LIBRARIES if one.exists()), None)

needs_faketime = needs(LIBRARY, "`make faketime` installs it")


@dataclass(frozen=True)
class WallClock:
    """The clock of whoever runs in :attr:`environment`; it starts right."""

    file: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to go by this clock, its children included."""
        if not self.file.exists():
            self.move(timedelta())
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",  # second; to read the file at each look is dear
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
            # files keep their own times, so that what compares them with each other goes on
            "NO_FAKE_STAT": "1",
        }

    def move(self, shift: timedelta) -> None:
        """Set it that much from the true time; processes see it within a second."""
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{shift.total_seconds():+.0f}\n")
        beside.replace(self.file)


class ShiftedDatabase:
    """A database whose ``now()`` and ``clock_timestamp()`` a test moves.

    Functions of these names stand before PostgreSQL's own on the search path; columns keep
    their defaults, which were bound to the true ones.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        name = database.engine.url.database
        with database.begin() as tx:
            tx.execute(sa.text("CREATE TABLE shift (by interval NOT NULL)"))
            tx.execute(sa.text("INSERT INTO shift VALUES ('0')"))
            for function in ("now", "clock_timestamp"):
                tx.execute(
                    sa.text(
                        f"CREATE FUNCTION public.{function}() RETURNS timestamptz STABLE"
                        f" LANGUAGE sql AS 'SELECT pg_catalog.{function}() + by FROM shift'"
                    )
                )
            tx.execute(sa.text(f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog'))
        # what is open goes by the path it was opened with; a closed pool would stay without one
        database.engine.dispose()

    def date_rows(self) -> None:
        """Let columns that the database fills with the time go by the moved clock, too."""
        with self.database.begin() as tx:
            for column in (one for table in metadata.sorted_tables for one in table.c):
                if getattr(column.server_default, "arg", None) is NOW:
                    table = f'"{column.table.name}"'
                    tx.execute(
                        sa.text(f'ALTER TABLE {table} ALTER "{column.name}" SET DEFAULT now()')
                    )

    def move(self, shift: timedelta) -> None:
        """Set the clock that much from the true time, for transactions that begin now."""
        self.database.run(
            lambda tx: tx.execute(sa.text("UPDATE shift SET by = :by"), {"by": shift})
        )
