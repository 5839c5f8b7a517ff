"""Who has an incident in hand, as lists and pages show it.

The incident machine keeps its own copy in ``incidents.state``; these columns are for
people, and are written in the same transaction.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import IncidentId
from monitor.store.tables import incidents


def put(tx: Connection, incident: IncidentId, *, by: str, until: datetime) -> None:
    """Write down who acknowledged an incident and until when that holds."""
    tx.execute(
        incidents.update()
        .where(incidents.c.id == incident)
        .values(acknowledged_by=by, acknowledged_until=until)
    )
