"""Look at all that an installation needs, one part after the other, and say what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from monitor.config.sections import Config
from monitor.daemon.checkup.database import check_database, check_standby
from monitor.daemon.checkup.diagnosis import Diagnosis, fault
from monitor.daemon.checkup.folder import check_folder
from monitor.daemon.checkup.models import (
    check_corpora,
    check_declared,
    check_encoder,
    check_engines,
)
from monitor.daemon.checkup.reached import (
    check_channels,
    check_gateway,
    check_login,
    check_service,
    check_traces,
)


def checkup(config: Config) -> Iterator[Diagnosis]:
    """Yield a diagnosis as soon as it is made; a part that is at fault hides no other.

    Writes nothing, loads no model, sends no message, and starts no embedded database.
    """
    looks: dict[str, Callable[[Config], Iterator[Diagnosis]]] = {
        "data folder": check_folder,
        "database": check_database,
        "standby": check_standby,
        "corpora": check_corpora,
        "engines": check_engines,
        "cluster": check_declared,
        "encoder": check_encoder,
        "channels": check_channels,
        "login": check_login,
        "traces": check_traces,
        "service": check_service,
        "gateway": check_gateway,
    }
    for part, look in looks.items():
        try:
            yield from look(config)
        except OSError as error:
            yield fault(part, f"{error.filename or 'the system'}: {error.strerror or error}")
