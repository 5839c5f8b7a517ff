"""The configuration of the embedded server."""

from dataclasses import dataclass
from pathlib import Path

from monitor.postgres.folder import PORT
from monitor.postgres.room import wal_size

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings of the embedded server for operators, in PostgreSQL's own units.

    max_wal_size
        ``auto`` means a sixteenth of the disk, at most 1GB.
    """

    shared_buffers: str = "128MB"
    max_connections: int = 100
    max_wal_size: str = AUTO

    def render(self, socket_dir: Path, *, root: Path) -> str:
        """Render ``postgresql.conf`` for a server whose folder is ``root``."""
        wal = wal_size(root) if self.max_wal_size == AUTO else self.max_wal_size
        return _TEMPLATE.format(
            port=PORT,
            socket_dir=socket_dir,
            shared_buffers=self.shared_buffers,
            max_connections=self.max_connections,
            max_wal_size=wal,
        )


_TEMPLATE = """\
# Written by Driftline whenever it starts this server. ALTER SYSTEM overrides it and stays.
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = {max_connections}
shared_buffers = '{shared_buffers}'
max_wal_size = '{max_wal_size}'
min_wal_size = '32MB'
# Reading in the server process itself saves three worker processes.
io_method = 'sync'
jit = off
fsync = on
full_page_writes = on
synchronous_commit = on
autovacuum = on
timezone = 'UTC'
log_timezone = 'UTC'
# One file for each day of the week.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = '1d'
log_rotation_size = 0
# Statements and error details quote rows, and rows may hold people's prompts.
log_error_verbosity = terse
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""
