"""The kill switch: while it is on, Driftline moves no traffic by itself.

Three places can set it, and any one is enough, so that it works with the database or the
API down: the environment (``DRIFTLINE_KILL_SWITCH``), a file (``<data_dir>/kill-switch``),
and a flag in the database. A place that cannot be read counts as on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from monitor.store.traffic import flags

VARIABLE: Final = "DRIFTLINE_KILL_SWITCH"
FILE: Final = "kill-switch"
_OFF: Final = frozenset({"", "0", "off", "false", "no"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchReading:
    """Whether the kill switch is on, and which source says so."""

    on: bool
    reason: str


class KillSwitch:
    """Reads the kill switch from all three places.

    Parameters
    ----------
    environ
        ``os.environ``, or a substitute.
    """

    def __init__(self, data_dir: Path, environ: Mapping[str, str]) -> None:
        self._data_dir = data_dir
        self._environ = environ

    def read(self, tx: Connection, *, hold: bool = False) -> SwitchReading:
        """Read the switch; ``hold`` locks the flag in the database until ``tx`` ends."""
        outside = self._outside()
        if outside.on:
            return outside
        flag = flags.hold_kill_switch(tx) if hold else flags.kill_switch(tx)
        if flag is not None and flag.on:
            return SwitchReading(on=True, reason=f"set by {flag.actor}: {flag.reason}")
        return SwitchReading(on=False, reason="off")

    def _outside(self) -> SwitchReading:
        """Read environment and file: every value not known to mean off is on."""
        word = self._environ.get(VARIABLE, "")
        if word.strip().lower() not in _OFF:
            return SwitchReading(on=True, reason=f"{VARIABLE} is set in the environment")
        try:
            names = {entry.name for entry in self._data_dir.iterdir()}
        except OSError as error:
            return SwitchReading(
                on=True, reason=f"{self._data_dir} cannot be read ({type(error).__name__})"
            )
        if FILE in names:
            return SwitchReading(on=True, reason=f"the file {self._data_dir / FILE} exists")
        return SwitchReading(on=False, reason="off")
