"""A detector is one file and one entry: all that the house does with it follows from these.

This module is the file of a detector that the table does not have: answers whose words say the same
again. It reads a signal that every record has and that no other detector reads.
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from alerts.brief import brief
from alerts.message import Alert
from alerts.message import from_json as alert_from_json
from alerts.types import Blame, VerdictKind
from detectors import DETECTORS
from detectors.profile import Phrases, Profile
from detectors.rank_detector import RankDetector, largest_worsening
from detectors.scores import DriftSide
from detectors.types import Window
from monitor.config.loading import parse
from monitor.evaluate.faults import families_of
from monitor.evaluate.settings import EvaluateSettings
from monitor.incident.chart import draw
from monitor.incident.chart_reading import read_chart
from monitor.incident.reading import read_story
from monitor.replay.page import page_of
from monitor.replay.replaying import ReplayParts, Request, replay
from monitor.replay.watch import Unwatched
from monitor.store.evaluation import evaluations, verdicts
from monitor.store.incidents import deliveries, incidents
from tests.docs.overview import overview
from tests.evaluate.test_quarantine import messages
from tests.replay.conftest import BagOfWords, Talk
from tests.replay.test_replaying import BEGIN, CADENCES, DAY, detector, one

MONOTONY = RankDetector(
    name="monotony",
    signals=("compression",),
    sides={"compression": DriftSide.UP},
    shown=largest_worsening,
    profile=Profile(
        words=Phrases(
            "variety of answers",
            "answers more monotonous",
            "answers more varied",
            "variety of answers changed",
        ),
    ),
)
SAME = "mmmmmmmmmmmmmmmm nnnnnnnnnnnnnnnn oooooooooooooooo pppppppppppppppp"
MARGIN = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry."""
    table = cast("dict[str, Any]", DETECTORS)
    monkeypatch.setitem(table, MONOTONY.name, MONOTONY)


def told(world: Any) -> list[Alert]:
    return [alert_from_json(row.alert) for row in world.database.run(deliveries.newest)]


def test_it_is_scored_judged_told_and_drawn(world: Any) -> None:
    rng = np.random.default_rng(3)
    world.refreeze(compression=rng.normal(1.0, 0.1, 4_000))
    evaluator = world.evaluator(tell=messages())

    def evaluate(**sent: str) -> Any:
        world.send(60, **sent)
        world.make_due()
        evaluator.evaluate(world.claim())
        return world.database.run(lambda tx: verdicts.current(tx, version_id=world.version.id))

    assert evaluate().verdict.kind is VerdictKind.STABLE
    verdict = evaluate(output=SAME).verdict
    assert (verdict.kind, verdict.detectors) == (VerdictKind.CRITICAL, ("monotony",))

    scores = world.database.run(
        lambda tx: evaluations.latest_scores_of(tx, adapter_id=world.version.adapter_id)
    )
    [score] = [each for each in scores if each.detector == "monotony"]
    assert score.evidence_page >= 0.0
    assert score.winner.startswith("compression:")
    assert score.verdict == "critical"
    assert score.details["coverage"]["compared"] == 60

    [alert] = told(world)
    assert "answers more monotonous since" in alert.summary
    assert ": answers more monotonous" in brief(alert).title
    assert alert.blame is Blame.UNKNOWN, "it measures answers, and no probe has looked"

    def picture(tx: Any) -> str:
        [row] = incidents.incident_list(tx)
        story = read_story(tx, row.id, margin=MARGIN, now=row.opened_at + MARGIN)
        assert story is not None
        chart = read_chart(tx, story, settings=EvaluateSettings(), now=row.opened_at + MARGIN)
        assert chart.signals[0].name == "monotony", "what crossed stands first"
        assert chart.signals[0].margin == EvaluateSettings().margins.rank
        return draw(chart)

    assert "variety of answers" in world.database.run(picture)


def test_it_is_replayed(tmp_path: Path) -> None:
    def write(name: str, lines: list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    named = {"adapter": "support", "version": "v7"}
    before = Talk(seed=1, **named).records(1_020, begin=BEGIN, over=15 * DAY)
    talk = Talk(seed=2, **named)
    lines = talk.records(250, begin=BEGIN + 15 * DAY, over=DAY)
    lines += talk.records(250, begin=BEGIN + 16 * DAY, over=DAY, output=SAME)
    outcome = replay(
        Request(log=write("log.jsonl", lines), baseline=write("baseline.jsonl", before)),
        ReplayParts(settings=EvaluateSettings(), cadences=CADENCES, embed=BagOfWords()),
        watch=Unwatched(),
    )
    story = one(outcome)
    found = detector(story, "monotony")
    assert found.absent is None
    assert found.notice is not None
    assert story.worst is VerdictKind.CRITICAL
    [answers] = [source for source in story.sources if source.name == "answers"]
    assert "monotony" in answers.partial
    assert '"monotony"' in page_of(outcome, script="")


def test_it_is_configured_planned_for_and_documented() -> None:
    def enabled(table: dict[str, Any]) -> tuple[str, ...]:
        return parse(table, source="test", environ={}).evaluation.detectors

    assert "monotony" in enabled({})
    assert "monotony" not in enabled({"detectors": {"monotony": {"enabled": False}}})

    rng = np.random.default_rng(5)
    at = np.sort(rng.uniform(0.0, 15 * 86_400.0, 600))
    baseline = {"compression": rng.normal(1.0, 0.1, 600)}

    fitted = MONOTONY.fit(Window(start=0.0, end=float(at[-1]) + 1.0, at=at, signals=baseline))
    [fault] = families_of("monotony", fitted)
    assert fault.words == "worse compression"

    [row] = [line for line in overview(DETECTORS.values()).splitlines() if "monotony" in line]
    assert row == (
        "| `monotony` | answers more monotonous | `compression` | the answer's text | (any)"
        " | tickets, and pages once a probe has looked | yes |"
    )
