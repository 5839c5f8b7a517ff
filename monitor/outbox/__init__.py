"""From a change of verdict to a message that somebody has received.

Three parts that meet only in tables: :func:`record_observation` decides and writes inside the
evaluation's transaction, the :class:`OutboxLoop` lets go what has waited long enough for others,
or for a silence to end, and the :class:`Deliverer` sends. A crash between them loses nothing;
a crash while sending may send twice, under the same message id.
"""

from monitor.outbox.acknowledging import NotOpen, acknowledge
from monitor.outbox.changes import changes_about
from monitor.outbox.channels import ChannelFacts, ConfiguredChannel, check_fallbacks
from monitor.outbox.deliverer import Deliverer, DelivererSettings
from monitor.outbox.departing import Departing
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.linking import PageLinks, chart_key
from monitor.outbox.marking import Hearers, NotMarkable, Word, hold, mark
from monitor.outbox.record import (
    record_canary,
    record_closing,
    record_observation,
    update_due,
)
from monitor.outbox.refreshing import Refresher, refreshers
from monitor.outbox.silencing import expire, silence, silenced
from monitor.outbox.telling import OutboxLoop

__all__ = [
    "AlertInputs",
    "ChannelFacts",
    "ConfiguredChannel",
    "Deliverer",
    "DelivererSettings",
    "Departing",
    "Hearers",
    "NotMarkable",
    "NotOpen",
    "OutboxLoop",
    "PageLinks",
    "Refresher",
    "Word",
    "acknowledge",
    "changes_about",
    "chart_key",
    "check_fallbacks",
    "expire",
    "hold",
    "mark",
    "record_canary",
    "record_closing",
    "record_observation",
    "refreshers",
    "silence",
    "silenced",
    "update_due",
]
