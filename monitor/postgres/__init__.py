"""Run the embedded PostgreSQL server, for machines without one for Driftline."""

from monitor.postgres.errors import (
    BinariesMissing,
    DataFolderBusy,
    NamespaceRefused,
    PostgresError,
    StartFailed,
    VersionMismatch,
)
from monitor.postgres.settings import ServerSettings
from monitor.postgres.supervisor import EmbeddedPostgres

__all__ = [
    "BinariesMissing",
    "DataFolderBusy",
    "EmbeddedPostgres",
    "NamespaceRefused",
    "PostgresError",
    "ServerSettings",
    "StartFailed",
    "VersionMismatch",
]
