"""What `status` says of probes that have no answer."""

from datetime import UTC, datetime
from pathlib import Path

from monitor.domain import Scope
from monitor.store.database import Database
from tests import worlds
from tests.cli.command import driftline
from tests.serving import serving


def test_status_says_since_when_probes_have_no_answer_and_why(
    database: Database, tmp_path: Path
) -> None:
    with database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.3)
        worlds.stop_probes(tx, reason="the engine answered HTTP 500")
    with serving(database, tmp_path) as service:
        told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.READ]}
        ran = driftline("status", "support", environ=told)
    assert f"perplexity: no answer since {datetime.now(UTC).year}-" in ran.out
    assert "the engine answered HTTP 500" in ran.out
