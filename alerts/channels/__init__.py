"""The kinds of channels: one file and one entry each."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any

import msgspec

from alerts.channels.alertmanager import Alertmanager, AlertmanagerSettings
from alerts.channels.custom import CustomSettings, CustomWebhook
from alerts.channels.log import LogChannel, LogSettings
from alerts.channels.mail import Mail, MailSettings
from alerts.channels.opsgenie import Opsgenie, OpsgenieSettings
from alerts.channels.pagerduty import PagerDuty, PagerDutySettings
from alerts.channels.slack import PACE as SLACK_PACE
from alerts.channels.slack import Slack, SlackSettings
from alerts.channels.teams import PACE as TEAMS_PACE
from alerts.channels.teams import Teams, TeamsSettings
from alerts.channels.webhook import Webhook, WebhookSettings
from alerts.delivery import Channel
from alerts.outgoing import OutgoingClient, OutgoingError, redacted
from alerts.pacing import MessageRate


class Groups(StrEnum):
    """How a receiver handles incidents that belong together."""

    TOGETHER = "together"
    """It gets one message for all of them."""
    EACH = "each"
    """It keeps one alert per incident, so each is sent by itself, after the wait."""
    THEIRS = "theirs"
    """It groups and repeats by itself, or never: it gets every message at once, and once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelKind:
    """How a kind of channel is configured and opened.

    The fields of ``settings`` are the keys of its ``[[channels]]`` entry. ``pace`` is the rate that
    its receiver accepts; None sends messages as they come. ``acknowledges`` is true if its receiver
    shows who acknowledged an incident (:class:`alerts.types.Status.ACKNOWLEDGED`). ``receiver``
    gives the receiver's address by the settings; None: it is this machine.
    """

    settings: type
    open: Callable[[Any, OutgoingClient], Channel]
    pace: MessageRate | None = None
    groups: Groups = Groups.TOGETHER
    acknowledges: bool = False
    receiver: Callable[[Any], str | None] = attrgetter("url")


CHANNELS: Mapping[str, ChannelKind] = {
    "alertmanager": ChannelKind(
        settings=AlertmanagerSettings, open=Alertmanager, groups=Groups.THEIRS
    ),
    "custom": ChannelKind(settings=CustomSettings, open=CustomWebhook),
    "email": ChannelKind(settings=MailSettings, open=Mail),
    "log": ChannelKind(
        settings=LogSettings, open=LogChannel, groups=Groups.THEIRS, receiver=lambda _settings: None
    ),
    "opsgenie": ChannelKind(
        settings=OpsgenieSettings,
        open=Opsgenie,
        groups=Groups.EACH,
        acknowledges=True,
        receiver=attrgetter("endpoint"),
    ),
    "pagerduty": ChannelKind(
        settings=PagerDutySettings,
        open=PagerDuty,
        groups=Groups.EACH,
        acknowledges=True,
        receiver=attrgetter("endpoint"),
    ),
    "slack": ChannelKind(settings=SlackSettings, open=Slack, pace=SLACK_PACE),
    "teams": ChannelKind(settings=TeamsSettings, open=Teams, pace=TEAMS_PACE),
    "webhook": ChannelKind(settings=WebhookSettings, open=Webhook),
}


def open_channel(kind: str, options: Mapping[str, object], *, client: OutgoingClient) -> Channel:
    """Open a configured channel.

    Parameters
    ----------
    options
        The entry's own keys (without ``name``, ``kind``, ``match``), secrets resolved.

    Raises
    ------
    ValueError
        An unknown kind or key (the nearest known one is named), an invalid value, or a URL that the
        client would never be permitted to reach. No value is quoted.
    """
    if kind not in CHANNELS:
        raise ValueError(f"no channel kind {kind!r}{_hint(kind, CHANNELS)}")
    try:
        return CHANNELS[kind].open(parse_settings(kind, options), client)
    except OutgoingError as error:
        raise ValueError(f"channel {kind!r}: {error}") from None


def reach_receiver(
    kind: str, options: Mapping[str, object], *, client: OutgoingClient, timeout: float
) -> str | None:
    """Open a connection to the receiver of a channel that can be opened, and send nothing.

    Returns its scheme, host and port; None: the channel stays on this machine.

    Raises
    ------
    OutgoingError
        It is not reached within ``timeout`` seconds, or may not be.
    """
    url = CHANNELS[kind].receiver(parse_settings(kind, options))
    if url is None:
        return None
    client.reach(url, timeout=timeout)
    return redacted(url)


def parse_settings(kind: str, options: Mapping[str, object]) -> object:
    """Read a channel's keys into its settings; errors as in :func:`open_channel`."""
    settings = CHANNELS[kind].settings
    known = [field.name for field in fields(settings)]
    for key in options:
        if key not in known:
            raise ValueError(f"channel {kind!r} has no key {key!r}{_hint(key, known)}")
    try:
        return msgspec.convert(dict(options), settings)
    except msgspec.ValidationError as error:
        raise ValueError(f"channel {kind!r}: {error}") from None


def _hint(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
