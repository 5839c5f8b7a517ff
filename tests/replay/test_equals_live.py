"""A replay says what the service says: the same records through both."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.capture.intake import Intake, Settings
from monitor.capture.queue import QueueBounds
from monitor.daemon.texts import WaitingTexts
from monitor.domain import EvaluationKind, Reference, Version
from monitor.evaluate.evaluator import Evaluator
from monitor.evaluate.message import Messages
from monitor.evaluate.settings import EvaluateSettings, Margins
from monitor.outbox.channels import ConfiguredChannel
from monitor.policy import PolicySettings
from monitor.reference.build import BuildSettings, build_next
from monitor.reference.index import Indexes
from monitor.reference.live import TextFate, drain_embeddings
from monitor.reference.upload import begin_upload
from monitor.replay.reading import LogReading, read_log
from monitor.replay.reference import Frozen, freeze
from monitor.replay.running import Replayed, Run, run
from monitor.replay.tape import Tape
from monitor.replay.training import read_training
from monitor.replay.watch import Unwatched
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.evaluation import tasks
from monitor.store.references import calibrations, references
from monitor.store.registry import adapters, versions
from monitor.windows import Cadence, offset_of, plan
from tests.arrivals import as_made
from tests.replay.conftest import BagOfWords, Talk, Write

WORDS = BagOfWords()
ANSWERS = TextFate(answers=True)
CADENCES = {
    EvaluationKind.HARD: Cadence(interval=timedelta(minutes=10), lag=timedelta(seconds=30)),
    EvaluationKind.LIVE: Cadence(interval=timedelta(minutes=15), lag=timedelta(minutes=2)),
}
PROBES = {EvaluationKind.PERPLEXITY: Cadence(interval=timedelta(hours=6), lag=timedelta(0))}
"""Of the service alone: a replay asks no model."""
SETTINGS = EvaluateSettings(
    effect_records=300,
    margins=Margins(rank=0.6, rate=0.3),
    policy=PolicySettings(recovery_window=timedelta(minutes=45), recovery_records=300),
)
BEGIN = datetime(2026, 11, 17, 8, tzinfo=UTC)
"""A fixed Tuesday: weekdays and hours matter to a reference of 14 days."""
LATER = BEGIN + timedelta(hours=12)


def the_reference() -> list[dict[str, Any]]:
    """Enough records over enough days to be approved, and texts of training."""
    talk = Talk(seed=1)
    begin = BEGIN - timedelta(days=15)
    baseline = talk.records(1_500, begin=begin, over=timedelta(days=15))
    texts = [one["prompt"] + " please" for one in Talk(seed=2).records(
        200, begin=begin, over=timedelta(days=1))]  # fmt: skip
    return [{"role": "training", "text": text} for text in texts] + [
        {"role": "baseline"} | record for record in baseline
    ]


def the_log() -> list[dict[str, Any]]:
    """Calm, then worse answers and strange questions, then calm; loops, blanks, other settings."""
    talk = Talk(seed=3, adapter="support", version="v7")
    hours = timedelta(hours=1)
    records = talk.records(240, begin=BEGIN, over=1.5 * hours)
    records += talk.records(25, begin=BEGIN, over=5 * hours, temperature=1.5)
    drifted = talk.records(240, begin=BEGIN + 1.5 * hours, over=hours, shift=2.0)
    for place, one in enumerate(drifted):
        if place % 2:
            one["prompt"] = f"write verse number {place} about whales"
    records += drifted
    records += talk.records(
        40, begin=BEGIN + 2 * hours, over=0.5 * hours, output="", token_logprobs=[], top_logprobs=[]
    )
    records += talk.records(560, begin=BEGIN + 2.5 * hours, over=3 * hours)
    return sorted(records, key=lambda one: one["at"])


class Service:
    """Intake, builder and evaluator of the service, moved through time by hand."""

    def __init__(
        self, database: Database, folder: Path, *, channels: Sequence[ConfiguredChannel] = ()
    ) -> None:
        self.database = database
        self.indexes = Indexes(folder)
        self.version = database.run(self._register)
        settings = Settings(target_per_day=10_000_000, bounds=QueueBounds(linger=0.0))
        self.intake = Intake(
            database, subject_key=b"k" * 32, settings=settings, clock=lambda: LATER, answers=True
        )
        texts = WaitingTexts(
            database=database, embedder=WORDS, indexes=self.indexes, keeping=ANSWERS
        )
        self.evaluator = Evaluator(
            database=database,
            settings=SETTINGS,
            cadences=CADENCES | PROBES,
            tell=Messages(channels=channels, preview=lambda *_: None, doubts=lambda *_: {}),
            react=lambda *_: None,
            embed=texts.embed_before,
            via=None,
        )

    def upload(self, lines: list[dict[str, Any]]) -> Reference:
        upload = begin_upload(self.database, version=self.version, cause="test", created_by="me")
        upload.feed(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        made = upload.finish()
        assert build_next(
            self.database, WORDS, indexes=self.indexes, settings=BuildSettings(answers=True)
        )
        found = self.database.run(lambda tx: references.get(tx, made.id))
        assert found is not None
        assert found.error is None
        return found

    def live(self, records: list[dict[str, Any]]) -> None:
        """Send what has come and evaluate what is due, in the order of time."""
        waiting = list(records)
        starts: dict[EvaluationKind, datetime | None] = dict.fromkeys(CADENCES)
        first = datetime.fromisoformat(records[0]["at"])
        last = datetime.fromisoformat(records[-1]["at"])
        due = {kind: first + one.lag + one.interval for kind, one in CADENCES.items()}
        while due:
            kind = min(due, key=lambda one: due[one])
            planned = plan(
                now=due[kind],
                cadence=CADENCES[kind],
                offset=offset_of(self.version.id, CADENCES[kind].interval),
                start=starts[kind],
            )
            assert planned.window is not None
            if planned.window.start > last:
                del due[kind]
                continue
            come = [one for one in waiting if datetime.fromisoformat(one["at"]) < due[kind]]
            waiting = waiting[len(come) :]
            self._send(come)
            self._evaluate(kind, now=due[kind], start=starts[kind])
            starts[kind], due[kind] = planned.window.end, planned.next_due

    def rows(self, query: str) -> list[Any]:
        return self.database.run(lambda tx: list(tx.execute(sa.text(query))))

    def _register(self, tx: Connection) -> Version:
        today = BEGIN.date()
        partitions.ensure(tx, [today + timedelta(days=day) for day in (-1, 0, 1, 2)])
        adapter = adapters.put(tx, name="support")
        made = versions.put(tx, adapter=adapter, name="v7", model="support@v7")
        tasks.ensure(tx, first_due={kind: timedelta() for kind in EvaluationKind})
        return made

    def _send(self, records: list[dict[str, Any]]) -> None:
        for begin in range(0, len(records), 500):
            part = records[begin : begin + 500]
            body = "\n".join(json.dumps(one) for one in part).encode()
            outcome = self.intake.records(body, content_type="application/x-ndjson")
            assert (outcome.accepted, list(outcome.rejected)) == (len(part), [])
        as_made(self.database)
        while drain_embeddings(self.database, WORDS, indexes=self.indexes, keeping=ANSWERS):
            pass  # as the service's own loop does as soon as texts come in

    def _evaluate(self, kind: EvaluationKind, *, now: datetime, start: datetime | None) -> None:
        def work(tx: Connection) -> Any:
            tasks.request(tx, version_id=self.version.id, kinds=[kind])
            return tasks.claim(
                tx, owner="me", kinds=[kind], lease=timedelta(seconds=60), limit=1
            )  # fmt: skip

        (claim,) = self.database.run(work)
        self.evaluator.evaluate(replace(claim, now=now, start=start, requested=False))


def replayed(reference: Path, log: Path, version: Version) -> tuple[Frozen, Run]:
    watch = Unwatched()
    training = read_training(reference, WORDS, key=b"k", watch=watch, only_role=True)
    baseline = read_log(reference, LogReading(), embed=WORDS, watch=watch)
    frozen = freeze(
        baseline.records["unnamed"],
        training,
        embed=WORDS,
        approve=False,
        in_training=False,
        now=BEGIN,
        version_id=version.id,
        directions=SETTINGS.directions(version.adapter),
    )
    records = read_log(log, LogReading(), embed=WORDS, watch=watch).records["support@v7"]
    at_stake = Replayed(
        version=version,
        frozen=frozen,
        log=frozen.log_of(records),
        settings=SETTINGS,
        cadences=CADENCES,
    )
    return frozen, run(at_stake, Tape().record, watch=watch, stage="test", keep=True)


def test_the_same_records_give_the_same_scores_and_verdicts_as_the_service(
    database: Database, tmp_path: Path, write: Write
) -> None:
    reference, log = the_reference(), the_log()
    service = Service(database, tmp_path / "indexes")
    service.intake.start()
    built = service.upload(reference)
    service.live(log)
    assert service.intake.close()

    frozen, found = replayed(write("reference", reference), write("log", log), service.version)

    fitted = frozen.calibrated.reference
    assert (fitted.n_training, fitted.n_baseline) == (built.n_training, built.n_baseline)
    assert (fitted.strata, fitted.approved_by) == (tuple(built.strata), built.approved_by)
    stored = database.run(lambda tx: calibrations.read(tx, built.id))
    assert set(frozen.calibrated.by_detector) == {n for n, c in stored.items() if c.body}
    assert "output_similarity" in frozen.calibrated.by_detector

    scores = {
        (row.detector, row.at): row for row in service.rows("SELECT * FROM scores ORDER BY at")
    }
    ours = {
        (finding.detector, evaluation.window.end): finding.score
        for evaluation in found.evaluations
        for finding in evaluation.findings
        if finding.score is not None
        and not (evaluation.kind is EvaluationKind.HARD and finding.score.n_window == 0)
    }
    hard = {
        (finding.detector, evaluation.window.end)
        for evaluation in found.evaluations
        if evaluation.kind is EvaluationKind.HARD
        for finding in evaluation.findings
    }
    assert scores.keys() <= ours.keys()
    assert len(scores) > 100
    # of a quarter of an hour the service keeps the first of the hard scores that say the same
    quarters = {(detector, at.timestamp() // 900) for detector, at in scores}
    left_out = ours.keys() - scores.keys()
    assert left_out <= hard
    assert {(detector, at.timestamp() // 900) for detector, at in left_out} <= quarters
    for key, row in scores.items():
        score = ours[key]
        assert (row.n_window, row.winner) == (score.n_window, score.winner), key
        for name in ("value", "evidence_notice", "evidence_page", "effect"):
            said = getattr(row, name)
            said = float("-inf") if said is None and name.startswith("evidence") else said
            expected = pytest.approx(getattr(score, name), abs=1e-6, rel=1e-6, nan_ok=True)
            assert said == expected, (key, name)

    transitions = service.rows("SELECT after, at, reason FROM transitions ORDER BY at, id")
    # the service dates a change by its own clock, when it is told
    assert [row.after for row in transitions] == [
        change.after.kind.value for change in found.changes
    ]
    assert [row.reason for row in transitions] == [change.after.reason for change in found.changes]
    words = [change.after.kind.value for change in found.changes]
    # the page processes recover within the log, the notice processes take longer
    assert words == ["insufficient", "stable", "drifting", "critical", "drifting"]
