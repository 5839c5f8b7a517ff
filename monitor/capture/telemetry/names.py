"""Find the adapter and the version in the name of a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from monitor.served_names import plain_name

_LONGEST: Final = 300
_FIELDS: Final = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """Settings for spans; section ``[capture.telemetry]`` of the configuration.

    pattern
        How engines name a version. What matches is a version; any other name is an adapter's, or
        no business of ours.
    """

    pattern: str = "{adapter}@{version}"

    @property
    def problem(self) -> str | None:
        """Say why the pattern cannot be used; None if it can."""
        named = _FIELDS.findall(self.pattern)
        if sorted(named) not in (["adapter"], ["adapter", "version"]):
            return f"{self.pattern!r} must name {{adapter}} once, and {{version}} at most once"
        return None

    def split(self, model: str) -> tuple[str, str | None] | None:
        """Return adapter and version of a model's name; None if it does not match.

        >>> TelemetrySettings().split("support@v7")
        ('support', 'v7')
        >>> TelemetrySettings(pattern="lora/{adapter}-{version}").split("lora/tool-use-v7")
        ('tool-use', 'v7')
        >>> TelemetrySettings().split("publishers/llm/models/support@v7")
        ('support', 'v7')
        >>> TelemetrySettings().split("gpt-4.1") is None
        True
        """
        return self._split(plain_name(model)) or self._split(model)

    def _split(self, model: str) -> tuple[str, str | None] | None:
        literal = _FIELDS.split(self.pattern)
        written = "".join(
            f"(?P<{part}>.+)" if place % 2 else re.escape(part)
            for place, part in enumerate(literal)
        )
        found = re.fullmatch(written, model) if len(model) <= _LONGEST else None
        if found is None:
            return None
        named = found.groupdict()
        return named["adapter"], named.get("version")
