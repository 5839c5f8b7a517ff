"""Settings as the service runs with them, without secrets."""

from __future__ import annotations

from monitor.views.shape import View


class SettingBody(View):
    """One setting, under its name in the config."""

    section: str
    name: str
    value: str
    """As text; a secret only says whether it is set."""
    usual: bool
    """It is the default."""
