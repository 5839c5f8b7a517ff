"""What the charts of an adapter's page draw, as JSON; it holds no text of users."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain import Version
from monitor.store import routes, series, verdicts

WINDOWS: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
DEFAULT_WINDOW: Final = "24h"
MOST_ROUTES: Final = 200


def read_chart(
    tx: Connection, shown: Version, *, since: datetime, until: datetime
) -> dict[str, Any]:
    """Read every detector's series and what changed meanwhile, on one time axis."""
    found = series.score_series(tx, version_id=shown.id, since=since, until=until)
    judged = verdicts.current(tx, version_id=shown.id)
    onset = judged.verdict.onset if judged else None
    changes = verdicts.history(tx, adapter_id=shown.adapter_id, since=since, limit=200)
    return {
        "since": since,
        "until": until,
        "detectors": [asdict(one) for one in found],
        "transitions": [
            {"at": change.at, "after": change.after.value}
            for change in changes
            if change.version == shown.name
        ],
        "routes": [
            {"at": row.route.since, "generation": row.route.generation}
            for row in routes.history(tx, shown.adapter, limit=MOST_ROUTES)
            if row.route.since >= since
        ],
        "onset": None if onset is None else {"earliest": onset.start, "latest": onset.end},
    }
