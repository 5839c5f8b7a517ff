"""``config.toml`` and the environment, as the settings of every part.

Only the daemon and the command line read this package; parts get their own dataclasses.
"""

from monitor.config.corpora import Corpora, read_corpora
from monitor.config.loading import load
from monitor.config.reading import ConfigError
from monitor.config.sections import Config, HeartbeatSection

__all__ = ["Config", "ConfigError", "Corpora", "HeartbeatSection", "load", "read_corpora"]
