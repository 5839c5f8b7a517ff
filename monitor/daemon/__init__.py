"""The composition root: the only place that knows every part."""

from monitor.daemon.database import UnsupportedServer, opened_database
from monitor.daemon.running import run

__all__ = ["UnsupportedServer", "opened_database", "run"]
