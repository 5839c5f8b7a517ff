"""The channels of this installation, as the config names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from alerts.delivery import Channel
from alerts.matching import Matcher
from alerts.pacing import MessageRate
from alerts.telling import AT_ONCE, Manner


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredChannel:
    """A channel and its rules, under the name that outbox rows carry.

    fallback
        The channel that is told as well if this one does not accept a message in time.
    pace
        The highest rate at which messages are sent; None sends them as they come.
    manner
        How long messages wait to be grouped, and which are repeated.
    """

    name: str
    channel: Channel
    matcher: Matcher = field(default_factory=Matcher)
    fallback: str | None = None
    pace: MessageRate | None = None
    manner: Manner = AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFacts:
    """The parts of a configured channel that may be shown, also where it is not opened."""

    name: str
    kind: str
    matcher: Matcher = field(default_factory=Matcher)
    fallback: str | None = None
    unacknowledged_for: timedelta = timedelta()


def check_fallbacks(channels: Sequence[ConfiguredChannel]) -> None:
    """Refuse channels whose fallbacks cannot work.

    Raises
    ------
    ValueError
        Two channels have one name, a fallback names no channel, or fallbacks form a ring
        (each would hand the message to the next for ever).
    """
    following = {channel.name: channel.fallback for channel in channels}
    if len(following) != len(channels):
        raise ValueError("two channels have the same name")
    for name, fallback in following.items():
        if fallback is not None and fallback not in following:
            raise ValueError(f"channel {name!r} falls back to {fallback!r}, which does not exist")
    for name in following:
        _follow(name, following)


def _follow(start: str, following: dict[str, str | None]) -> None:
    seen = [start]
    while (after := following[seen[-1]]) is not None:
        if after in seen:
            raise ValueError(f"fallbacks form a ring: {' -> '.join([*seen, after])}")
        seen.append(after)
