"""``config.toml`` and the environment, as the settings of every part.

Only the daemon and the command line read this package; parts get their own dataclasses.
"""

from monitor.config.reading import ConfigError
from monitor.config.sections import Config, load

__all__ = ["Config", "ConfigError", "load"]
