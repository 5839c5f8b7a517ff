"""Read ``config.toml`` and the environment into the settings of every part.

Only the daemon and the command line read this package; parts get their own dataclasses.
:func:`loading.load` reads everything and imports every part; :mod:`parts` reads the few sections
that the gateway, or a command that only asks the service, needs.
"""
