"""Reuse an older generation's feedback if a new one's records are too young for their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from detectors.feedback import FEEDBACK
from monitor.domain import ReferenceId
from monitor.store.references import calibrations, references
from monitor.store.references.calibrations import Bins, Calibration
from monitor.store.references.references import FEEDBACK_FROM

FEEDBACK_OF: Final = "feedback_of"
"""Key of a note: the generation whose feedback is reused, and the records it is from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OlderFeedback:
    """The reused feedback: its calibration, its signals' bins, and notes of its origin.

    Evidence is the feedback on records since the older generation's own, as before.
    """

    calibration: Calibration
    bins: Mapping[str, Bins]
    notes: Mapping[str, Any]


def read(tx: Connection, reference_id: ReferenceId) -> OlderFeedback | None:
    """Read the feedback of a ready reference; None if it has none."""
    stored = calibrations.read(tx, reference_id).get(FEEDBACK.name)
    if stored is None or stored.body is None:
        return None
    details = references.details(tx, reference_id)
    of = {"generation": details.reference.generation, "records": details.reference.n_baseline}
    bins = calibrations.read_bins(tx, reference_id)
    signals = FEEDBACK.load(stored.body).signals
    return OlderFeedback(
        calibration=stored,
        bins={signal: bins[signal] for signal in signals if signal in bins},
        notes={
            # it may itself have been reused
            FEEDBACK_OF: details.request.get(FEEDBACK_OF, of),
            FEEDBACK_FROM: details.request.get(FEEDBACK_FROM),
        },
    )
