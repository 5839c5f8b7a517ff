"""Write alerts as structured JSON lines to standard output or error."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum

import msgspec
import structlog

from alerts.delivery import Delivered, DeliveryFailed
from alerts.formats import driftline_body
from alerts.message import Alert
from alerts.outgoing import OutgoingClient


class TextSink(StrEnum):
    """The stream that the line is written to."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Keys of a ``[[channels]]`` entry of kind ``log``."""

    stream: TextSink = TextSink.STDERR


class LogChannel:
    """Writes each alert as one line that holds Driftline's body.

    The JSON is plain ASCII, and all characters that could break or forge a line are escaped.
    """

    def __init__(self, settings: LogSettings, client: OutgoingClient) -> None:
        del client  # all channels are opened with a client; this one sends nothing
        self._settings = settings

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        stream = sys.stdout if self._settings.stream is TextSink.STDOUT else sys.stderr
        logger = structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=[structlog.processors.JSONRenderer(sort_keys=True)],
        )
        body = msgspec.json.decode(driftline_body(alert))
        try:
            logger.info("alert", message_id=message_id, alert=body)
        except (OSError, ValueError) as error:
            raise DeliveryFailed(f"{self._settings.stream}: cannot be written") from error
        return Delivered()
