"""The schema, a module a noun. Migrations create it; ``alembic check`` keeps both equal.

Conventions: integer keys inside, names outside; ``timestamptz`` everywhere; no enum types in the
database (a new word must not need a table rewrite) but a CHECK where a wrong word would do harm;
partitioned tables are created empty here, their daily partitions by
:mod:`monitor.store.partitions`.
"""

from __future__ import annotations

from typing import Final

from monitor.store.tables import evaluations as evaluations
from monitor.store.tables import incidents as incidents
from monitor.store.tables import people as people
from monitor.store.tables import probes as probes
from monitor.store.tables import records as records
from monitor.store.tables import references as references
from monitor.store.tables import registry as registry
from monitor.store.tables import retrainings as retrainings
from monitor.store.tables import traffic as traffic

PARTITIONED: Final = (
    "records",
    "record_tokens",
    "record_embeddings",
    "answer_embeddings",
    "record_texts",
    "feedback",
    "scores",
    "increments",
)
"""Tables cut into daily partitions by ``at`` (UTC days)."""
