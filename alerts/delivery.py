"""The contract of a channel, and the one error it may raise.

A channel knows whether a retry can help, the outbox knows when to retry; neither parses message
text::

    DeliveryFailed(permanent, retry_after, status, reason)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Protocol, runtime_checkable

from alerts.message import Alert
from alerts.outgoing import Reply

REFUSED_FOR_GOOD = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.GONE,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""Answers after which the same bytes can never be accepted, so a retry only delays the
fallback. Everything else (401, 403, 404, 408, 429, redirects, 5xx) can be repaired by the
receiver's people while the incident still matters, and a duplicate is better than a miss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The receiver took the message. ``status`` is None without HTTP."""

    status: int | None = None


class DeliveryFailed(Exception):  # noqa: N818 - named as the outcome it reports
    """The receiver did not take the message.

    Attributes
    ----------
    permanent
        The same message can never be accepted; do not try again.
    retry_after
        Seconds the receiver asked us to wait, or None.
    status
        HTTP status, or None if there was no answer.
    reason
        Plain words without secrets: hosts only, never paths, queries or bodies.
    """

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.retry_after = retry_after
        self.status = status


class Channel(Protocol):
    """A way to send alerts: one file and one entry in ``alerts.channels.CHANNELS``.

    Laws, checked for every entry: ``deliver`` returns only after the receiver took the message,
    else raises :class:`DeliveryFailed`; it ends within its timeout; called again with the same
    ``message_id``, it sends the same message under the same id; no secret reaches an error or a
    log; many threads may call it.
    """

    def deliver(self, alert: Alert, message_id: str) -> Delivered: ...


@runtime_checkable
class GroupedChannel(Protocol):
    """A channel that can report several incidents in one message.

    The laws of :class:`Channel` hold; the first of ``alerts`` is the most urgent.
    """

    def deliver_together(self, alerts: Sequence[Alert], message_id: str) -> Delivered: ...


@runtime_checkable
class Refreshing(Protocol):
    """A channel whose receiver needs open incidents repeated.

    Every ``refresh_every`` seconds, ``refresh`` gets each incident's last message with its id; it
    may raise :class:`DeliveryFailed`.
    """

    @property
    def refresh_every(self) -> float: ...

    def refresh(self, messages: Sequence[tuple[Alert, str]]) -> None: ...


def receipt(reply: Reply, *, target: str, now: float) -> Delivered:
    """Turn an HTTP answer into a receipt, or raise the error that the outbox needs.

    Parameters
    ----------
    target
        The receiver's name, without secrets.
    now
        Epoch seconds, for a ``Retry-After`` given as a date.

    Raises
    ------
    DeliveryFailed
        For any status that is not 2xx.
    """
    if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        return Delivered(status=reply.status)
    raise DeliveryFailed(
        f"{target} answered {reply.status}{_phrase(reply.status)}",
        permanent=reply.status in REFUSED_FOR_GOOD,
        retry_after=retry_after_seconds(reply.headers.get("retry-after"), now=now),
        status=reply.status,
    )


def retry_after_seconds(header: str | None, *, now: float) -> float | None:
    """Read ``Retry-After`` (seconds or an HTTP date); None if absent or unreadable.

    >>> retry_after_seconds("120", now=0.0)
    120.0
    >>> retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", now=0.0)
    60.0
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.fromtimestamp(now, tz=UTC)).total_seconds())


def _phrase(status: int) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return " (redirects are never followed)"
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
