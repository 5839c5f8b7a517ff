"""The composition root: the only place that knows every part."""

from monitor.daemon.database import opened_database
from monitor.daemon.running import run

__all__ = ["opened_database", "run"]
