"""Read ``[[channels]]``: which alerts go where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from alerts.channels import CHANNELS, Groups, parse_settings
from alerts.matching import Matcher, parse_matcher
from monitor.config.reading import ConfigError, duration, resolve_secrets

OWN_KEYS = frozenset({"name", "kind", "match", "fallback", "together", "unacknowledged_for"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEntry:
    """One configured channel; ``options`` are its kind's own keys, secrets resolved.

    With ``unacknowledged_for`` it hears only of incidents that nobody acknowledged for so long.

    ``together`` is true if grouped incidents share one message; only for kinds that support it.
    """

    name: str
    kind: str
    matcher: Matcher
    fallback: str | None = None
    together: bool = True
    unacknowledged_for: timedelta = timedelta()
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def groups(self) -> Groups:
        """How the channel's receiver groups incidents."""
        kind = CHANNELS[self.kind].groups
        return Groups.EACH if kind is Groups.TOGETHER and not self.together else kind


def read_channels(value: object, *, environ: Mapping[str, str]) -> tuple[ChannelEntry, ...]:
    """Read every entry; raises ConfigError with the problems of all of them."""
    if not isinstance(value, list):
        raise ConfigError(["channels: expected [[channels]] entries"])
    entries: list[ChannelEntry] = []
    problems: list[str] = []
    for index, item in enumerate(value):
        try:
            entries.append(_entry(item, where=f"channels[{index}]", environ=environ))
        except ConfigError as error:
            problems += error.problems
    names = [entry.name for entry in entries]
    problems += [f"channels: two are named {n!r}" for n in set(names) if names.count(n) > 1]
    problems += [
        f"channels.{entry.name}.fallback: no channel is named {entry.fallback!r}"
        for entry in entries
        if entry.fallback is not None and entry.fallback not in names
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(entries)


def _entry(item: object, *, where: str, environ: Mapping[str, str]) -> ChannelEntry:
    if not isinstance(item, Mapping):
        raise ConfigError([f"{where}: expected a table, got {type(item).__name__}"])
    for key in ("name", "kind"):
        if not isinstance(item.get(key), str) or not item[key]:
            raise ConfigError([f"{where}.{key}: required, a word"])
    if item["kind"] not in CHANNELS:
        raise ConfigError([f"{where}.kind: no kind {item['kind']!r}; known: {', '.join(CHANNELS)}"])
    fallback = item.get("fallback")
    if fallback is not None and not isinstance(fallback, str):
        raise ConfigError([f"{where}.fallback: expected the name of a channel"])
    together = item.get("together", True)
    if not isinstance(together, bool):
        raise ConfigError([f"{where}.together: expected true or false"])
    if "together" in item and CHANNELS[item["kind"]].groups is not Groups.TOGETHER:
        raise ConfigError([f"{where}.together: {item['kind']!r} is always told one by one"])
    unacknowledged_for = _waits(item, where=where)
    own = {key: item[key] for key in item if key not in OWN_KEYS}
    options = resolve_secrets(own, where=where, environ=environ)
    try:
        parse_settings(item["kind"], options)
        matcher = parse_matcher(item.get("match", {}))
    except ValueError as error:
        raise ConfigError([f"{where}: {error}"]) from None
    return ChannelEntry(
        name=item["name"],
        kind=item["kind"],
        matcher=matcher,
        fallback=fallback,
        together=together,
        unacknowledged_for=unacknowledged_for,
        options=options,
    )


def _waits(item: Mapping[str, object], *, where: str) -> timedelta:
    """Read after how long an unacknowledged incident reaches a channel."""
    given = item.get("unacknowledged_for", "0s")
    if not isinstance(given, str):
        raise ConfigError([f'{where}.unacknowledged_for: expected a time such as "15m"'])
    try:
        return duration(given)
    except ValueError as error:
        raise ConfigError([f"{where}.unacknowledged_for: {error}"]) from None
