"""The schema. Migrations create it; ``alembic check`` keeps both equal.

Conventions: integer keys inside, names outside; ``timestamptz`` everywhere; no enum types in the
database (a new word must not need a table rewrite) but a CHECK where a wrong word would do harm;
partitioned tables are created empty here, their daily partitions by
:mod:`monitor.store.partitions`.
"""

from __future__ import annotations

from typing import Final

from monitor.store.tables.decisions import *
from monitor.store.tables.facts import *

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
