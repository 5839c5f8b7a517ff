"""What a terminal says of a version of which too little is compared."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.domain import Scope
from monitor.store.database import Database
from monitor.store.registry import versions
from tests import worlds
from tests.cli.command import Ran, driftline
from tests.serving import serving
from tests.uncompared import TOLD, blind

Run = Callable[..., Ran]


@pytest.fixture
def run(database: Database, tmp_path: Path) -> Iterator[Run]:
    now = datetime.now(UTC)
    with database.begin() as tx:
        worlds.seed(tx, now=now, days=0.1)
        version = versions.fetch(tx, adapter="billing", name="v1")
        assert version is not None
        blind(tx, version, now=now, since=now - timedelta(hours=30))
    with serving(database, tmp_path) as service:
        told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.READ]}
        yield lambda *words: driftline(*words, environ=told, cwd=tmp_path)


def test_the_fleet_has_a_column_of_what_is_compared(run: Run) -> None:
    said = run("status").out
    [row] = [line for line in said.splitlines() if line.startswith("billing ")]
    assert {"blind", "8%"} <= set(row.split())
    assert "compared is that of certainty of answers" in said


def test_a_blind_adapter_says_what_it_misses_and_what_mends_it(run: Run) -> None:
    ran = run("status", "billing")
    assert (ran.code, ran.err) == (3, "")
    said = " ".join(ran.out.split())
    assert "billing: blind" in said
    assert re.search(r"\b8 100\b", said)
    assert "to have them compared: driftline reference learn billing v1" in said
    assert "in the last 24 h sampling set 36,112 of 40," in said


def test_the_receipt_says_for_how_long_and_what_was_missed(run: Run) -> None:
    said = " ".join(run("receipt").out.split())
    for words in ("billing@v1", "30.0 h", "8%", "compared 8 of 100 requests"):
        assert words in said, words
    assert TOLD.split(",", maxsplit=1)[0] in said


def test_learning_other_settings_says_what_it_did_or_what_is_missing(
    database: Database, tmp_path: Path
) -> None:
    with database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.1)
    with serving(database, tmp_path) as service:
        told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.OPERATE]}
        ran = driftline("reference", "learn", "billing", "v1", environ=told, cwd=tmp_path)
        assert (ran.code, ran.err) == (0, "")
        assert "no other settings have more than 5 % of the last day's requests" in ran.out
        ran = driftline("reference", "learn", "support", "v7", environ=told, cwd=tmp_path)
        assert ran.code == 1
        assert "support@v7 is critical: what is wrong would become normal" in ran.err
