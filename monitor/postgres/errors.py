"""The errors of the embedded server.

``PostgresError``
├── ``BinariesMissing``   the wheel with the server programs is not installed, or not for Linux
├── ``NamespaceRefused``  we are root and found no ordinary account to run the server as
├── ``DataFolderBusy``    somebody else holds the data folder and does not let go
├── ``VersionMismatch``   the data were written by another major version
└── ``StartFailed``       the server did not come up; carries the last lines of its log
"""

# ruff: noqa: N818 - the names say what happened

OTHER_SERVER = "or set database.url to a PostgreSQL server (15 or newer) that you run yourself"


class PostgresError(Exception):
    """The embedded server cannot be used; the message says what to do."""


class BinariesMissing(PostgresError):
    """The server programs are not on this machine."""


class NamespaceRefused(PostgresError):
    """Root may not run PostgreSQL, and neither a user namespace nor a system user is available."""


class DataFolderBusy(PostgresError):
    """Another process holds the data folder."""


class VersionMismatch(PostgresError):
    """The data folder belongs to another major version of PostgreSQL."""


class StartFailed(PostgresError):
    """The server did not become ready.

    Parameters
    ----------
    message
        The attempt, and what to do.
    log_tail
        The last lines that the server wrote, oldest first; empty if it wrote none.
    """

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(f"{message}\n{log_tail}".rstrip())
        self.log_tail = log_tail
