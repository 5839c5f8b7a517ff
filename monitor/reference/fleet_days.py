"""Read how much days differ, as the fleet's other adapters have shown it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.day_effect import DayEffect, of_fleet
from monitor.domain import AdapterId
from monitor.store.references import references

NOTE: Final = "shown_days"
"""Key of the builder's note on a reference: by detector, in sd."""


def read(tx: Connection, *, besides: AdapterId, assumed: DayEffect) -> Mapping[str, DayEffect]:
    """Return, by detector, the assumed day effect of an adapter with a short reference."""
    noted = references.approved_notes(tx, NOTE, besides=besides)
    return {
        name: of_fleet([one[name] for one in noted if name in one], assumed) for name in DETECTORS
    }
