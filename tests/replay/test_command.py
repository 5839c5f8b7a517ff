"""``driftline replay`` as a user runs it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Ran, driftline, failed
from tests.replay.conftest import Talk, Write

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTILE = "pay\x1b[2Jnow"
ENVIRON = {"DRIFTLINE_SCHEDULE__HARD_INTERVAL": "1h", "DRIFTLINE_SCHEDULE__LIVE_INTERVAL": "1h"}


@pytest.fixture
def baseline(write: Write) -> Path:
    talk = Talk(seed=1, adapter="support", version="v7")
    return write("baseline.jsonl", talk.records(1_020, begin=BEGIN, over=15 * DAY))


@pytest.fixture
def log(write: Write) -> Path:
    talk = Talk(seed=2, adapter="support", version="v7")
    lines: list[Any] = talk.records(200, begin=BEGIN + 15 * DAY, over=DAY)
    lines += talk.records(200, begin=BEGIN + 16 * DAY, over=DAY, shift=2.0)
    bad = {"adapter": HOSTILE, "id": "x", "at": BEGIN.isoformat()}
    return write("log.jsonl", [bad, *lines])


def run(*words: object, cwd: Path) -> Ran:
    return driftline("replay", *map(str, words), environ=ENVIRON, cwd=cwd)


def test_the_story_says_what_fired_when_and_why(log: Path, baseline: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    ran = run(log, "--baseline", baseline, "--no-embeddings", "--html", page, cwd=tmp_path)
    assert ran.code == 4, ran
    for said in (
        "401 lines, 1 bad",
        "support@v7: 400 records in 2.0 days",
        "approved by coverage",
        "requests after its onset",
        "critical",
        "sure enough for a page",
        "messages in 2.0 days of log",
        "A replay asks no model.",
    ):
        assert said in ran.out
    assert "line 1: adapter: has characters that cannot be printed" in ran.out
    assert "\x1b" not in ran.out
    assert "where" not in ran.out, "no word of a prompt"
    assert page.stat().st_size > 1_000_000, "the charts' script is in it"


def test_scripts_read_json(log: Path, baseline: Path, tmp_path: Path) -> None:
    ran = run(log, "--baseline", baseline, "--no-embeddings", "--json", cwd=tmp_path)
    assert ran.code == 4
    (version,) = json.loads(ran.out)["versions"]
    assert (version["name"], version["worst_verdict"]) == ("support@v7", "critical")


def test_a_quiet_log_ends_with_0(write: Write, baseline: Path, tmp_path: Path) -> None:
    talk = Talk(seed=3, adapter="support", version="v7")
    quiet = write("quiet.jsonl", talk.records(120, begin=BEGIN + 15 * DAY, over=DAY))
    assert run(quiet, "--baseline", baseline, "--no-embeddings", cwd=tmp_path).code == 0


def test_names_from_the_log_do_not_reach_the_terminal_as_they_are(
    write: Write, tmp_path: Path
) -> None:
    lines = Talk(adapter="a").records(3, begin=BEGIN, over=DAY)
    lines[1]["adapter"] = "[red]b"
    path = write("log.jsonl", lines)
    failed(
        run(path, "--baseline-first", 300, "--no-embeddings", cwd=tmp_path),
        "2 versions",
        "[red]b (1)",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param([], "give --baseline FILE", id="no baseline"),
        pytest.param(["--baseline-first", "300"], "at least 300 are needed", id="too few"),
        pytest.param(["--baseline-first", "soon"], "is no duration", id="no number"),
        pytest.param(["--format", "csv"], "no form 'csv'; known: auto", id="no form"),
        pytest.param(["--html", "no/such/out.html"], "there is no such folder", id="no folder"),
        pytest.param(["--training", "no.txt"], "no.txt: there is no such file", id="no texts"),
    ],
)
def test_what_is_wrong_is_one_message(
    write: Write, tmp_path: Path, words: list[str], said: str
) -> None:
    lines = Talk(adapter="a").records(320, begin=BEGIN, over=DAY, temperature=0.5)
    for n, line in enumerate(lines[:30]):
        line["temperature"] = float(n)
    path = write("log.jsonl", lines)
    failed(run(path, *words, "--no-embeddings", cwd=tmp_path), said)


def test_a_file_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    failed(run("nothing.jsonl", "--baseline-first", 300, cwd=tmp_path), "No such file")


def test_a_version_that_cannot_be_replayed_fails_a_calm_replay_and_no_drifting_one(
    write: Write, tmp_path: Path
) -> None:
    known = Talk(seed=1, adapter="support", version="v7")
    lines: list[Any] = known.records(1_020, begin=BEGIN, over=15 * DAY)
    lines += Talk(seed=5, adapter="support", version="v6").records(3, begin=BEGIN, over=DAY)
    bad = {"adapter": "support", "id": "x", "at": "yesterday"}
    base = write("baseline.jsonl", [*lines, bad])
    calm = known.records(120, begin=BEGIN + 15 * DAY, over=DAY)
    worse = known.records(300, begin=BEGIN + 16 * DAY, over=DAY, shift=2.0)
    new = Talk(seed=4, adapter="support", version="v9").records(5, begin=BEGIN + 15 * DAY, over=DAY)
    words = ["--baseline", base, "--no-embeddings", "--by-model"]
    ran = run(write("calm.jsonl", calm + new), *words, cwd=tmp_path)
    assert ran.code == 1, ran
    assert "support@v9: not replayed: " in ran.out
    assert "baseline.jsonl: 1,024 lines, 1 bad" in ran.out
    assert "line 1024: at: " in ran.out
    both = run(write("worse.jsonl", calm + worse + new), *words, "--json", cwd=tmp_path)
    assert both.code == 4, both
    assert json.loads(both.out)["baseline"]["bad"] == 1
