"""``config.toml`` and the environment, as the settings of every part.

Only the daemon and the command line read this package; parts get their own dataclasses.
:func:`loading.load` reads all of it and loads what every part is made of; :mod:`parts` reads the
few sections that the gateway, or a command that only asks the service, needs.
"""
