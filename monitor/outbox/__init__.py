"""From a change of verdict to a message that somebody has received.

Two halves that meet only in the outbox table: :func:`record_transition` decides and writes
inside the evaluation's transaction, the :class:`Deliverer` sends. A crash between the two
loses nothing; a crash while sending may send twice, under the same message id.
"""

from monitor.outbox.acknowledging import NotOpen, acknowledge
from monitor.outbox.changes import changes_about
from monitor.outbox.channels import ChannelFacts, ConfiguredChannel, check_fallbacks
from monitor.outbox.deliverer import Deliverer, DelivererSettings, Outcome
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.marking import Hearers, NotMarkable, Word, hold, mark
from monitor.outbox.record import (
    record_closing,
    record_observation,
    record_transition,
)
from monitor.outbox.refreshing import Refresher, refreshers

__all__ = [
    "AlertInputs",
    "ChannelFacts",
    "ConfiguredChannel",
    "Deliverer",
    "DelivererSettings",
    "Hearers",
    "NotMarkable",
    "NotOpen",
    "Outcome",
    "Refresher",
    "Word",
    "acknowledge",
    "changes_about",
    "check_fallbacks",
    "hold",
    "mark",
    "record_closing",
    "record_observation",
    "record_transition",
    "refreshers",
]
