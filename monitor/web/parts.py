"""The parts from which the dashboard is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.api.parts import ApiParts
from monitor.domain import Mode
from monitor.views.setting import SettingBody

if TYPE_CHECKING:
    from monitor.oidc.login import Oidc


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts(ApiParts):
    """The parts of the dashboard: those of the API, and its own.

    ``secret`` signs session cookies. All daemons must share it, or people must log in again
    on each. At least 32 random bytes.
    """

    secret: bytes = field(repr=False)
    mode: Mode = Mode.OBSERVE
    """The mode of adapters without one of their own."""
    settings: Sequence[SettingBody] = ()
    """The settings that the service runs with, those of a section together."""
    session: timedelta = timedelta(hours=12)
    oidc: Oidc | None = None
    """The provider by which people may log in."""
