"""The data that the charts of an adapter's page draw, as JSON.

The title of a declared change is the only text in it that users wrote.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain import Version
from monitor.store.evaluation import series, verdicts
from monitor.store.people import changes
from monitor.store.traffic import routes
from monitor.web import wording

WINDOWS: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
DEFAULT_WINDOW: Final = "24h"
MOST_ROUTES: Final = 200
MOST_CHANGES: Final = 50


def read_chart(
    tx: Connection, shown: Version, *, since: datetime, until: datetime
) -> dict[str, Any]:
    """Read every detector's series and the changes in that time, on one time axis."""
    found = series.score_series(tx, version_id=shown.id, since=since, until=until)
    judged = verdicts.current(tx, version_id=shown.id)
    onset = judged.verdict.onset if judged else None
    history = verdicts.history(tx, adapter_id=shown.adapter_id, since=since, limit=200)
    declared = changes.change_list(
        tx, adapter=shown.adapter, since=since, until=until, limit=MOST_CHANGES
    )
    return {
        "since": since,
        "until": until,
        "detectors": [asdict(one) for one in found],
        "transitions": [
            {"at": moved.at, "after": moved.after.value}
            for moved in history
            if moved.version == shown.name
        ],
        "routes": [
            {"at": row.route.since, "generation": row.route.generation}
            for row in routes.history(tx, shown.adapter, limit=MOST_ROUTES)
            if row.route.since >= since
        ],
        "changes": [
            {
                "kind": one.kind.value,
                "title": wording.reveal(one.title),
                "begun_at": one.begun_at,
                "ended_at": one.ended_at,
            }
            for one in declared
        ],
        "onset": None if onset is None else {"earliest": onset.start, "latest": onset.end},
    }
