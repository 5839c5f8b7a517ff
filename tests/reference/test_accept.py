"""What is accepted as normal joins the index and becomes the baseline."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Connection

from alerts import incident as machine
from alerts.types import Blame, VerdictKind
from alerts.types import Severity as Urgency
from detectors.identity import IdentityState
from detectors.types import Process
from monitor.domain import (
    IncidentId,
    Interval,
    Mark,
    Reference,
    ReferenceId,
    ReferenceState,
    Verdict,
    VerdictSeverity,
    Version,
)
from monitor.outbox.marking import Hearers, NotMarkable, Word, mark
from monitor.policy import Crossing, IdentityMemory, Memory
from monitor.policy.classic import Streak, Streaks
from monitor.reference.accept import Anew, accept
from monitor.reference.build import build_next
from monitor.reference.index import Indexes
from monitor.reference.learned import LearnedSettings, freeze_learned
from monitor.reference.live import drain_embeddings
from monitor.store.database import Database
from monitor.store.evaluation import verdicts
from monitor.store.incidents import incidents
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.references import baselines, calibrations, references
from monitor.store.references.references import ReferenceSource
from tests.reference.conftest import NOON, BagOfWords, Live, Send, baseline, questions, training

ONSET = NOON + timedelta(minutes=30)
WORD_AT = NOON + timedelta(days=1)


def opened(database: Database, version: Version, memory: Memory) -> IncidentId:
    """An open incident whose verdict rests on what is remembered."""
    judged = Verdict(
        kind=VerdictKind.DRIFTING, severity=VerdictSeverity.TICKET, blame=Blame.INPUT,
        reason="input_similarity", detectors=("input_similarity",), since=ONSET,
    )  # fmt: skip
    state = machine.IncidentState(
        phase=machine.IncidentPhase.FIRING, number=1, told=Urgency.TICKET, since=ONSET
    )
    update = IncidentUpdate(
        number=1, phase="firing", state=machine.to_json(state), severity=VerdictSeverity.TICKET,
        blame=Blame.INPUT, summary="new questions", opened_at=ONSET, closed_at=None,
    )  # fmt: skip

    def work(tx: Connection) -> IncidentId:
        verdicts.claim_row(tx, version_id=version.id, adapter_id=version.adapter_id)
        verdicts.put(tx, version_id=version.id, verdict=judged, memory=memory, size=None)
        return incidents.put(tx, StoredKey.of(version, "drift"), update)

    return database.run(work)


def crossed(*, start: datetime = ONSET, detector: str = "input_similarity") -> Memory:
    return Memory(
        crossings=(
            Crossing(
                detector=detector, process=Process.NOTICE, hard=False, model_side=False,
                at=start + timedelta(hours=1), evidence=2.0, winner="similarity:down",
                onset=Interval(start=start, end=start + timedelta(minutes=15)), margin=0.2,
            ),
        )
    )  # fmt: skip


def made_of(anew: Anew) -> ReferenceId:
    assert anew.reference is not None
    return anew.reference.id


def said(database: Database, incident: IncidentId, what: Mark = Mark.ACCEPTED) -> list[Anew]:
    word = Word(mark=what, by="ann", because="parcels are new", at=WORD_AT)
    return list(database.run(lambda tx: accept(tx, incident, word, hearers=Hearers())))


@pytest.fixture
def old(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send, live: Live
) -> Reference:
    """A reference of questions about cards; since the onset people ask about parcels."""
    made = send([*training(questions(50)), *baseline(questions(400, start=900))])
    build_next(database, words, indexes=indexes)
    live(questions(30, start=5_000))
    live(
        questions(500, of="parcel", start=2_000),
        start=ONSET,
        subjects=[f"user{i - 250 if 250 <= i < 300 else i}" for i in range(500)],
    )
    while drain_embeddings(database, words, indexes=indexes):
        pass
    return made


def test_the_early_half_joins_the_index_and_the_held_out_half_is_measured(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes, old: Reference
) -> None:
    incident = opened(database, version, crossed())
    [anew] = said(database, incident)
    assert (anew.records, anew.perplexity) == (500, False)
    # until the new one is ready the old one stays in force, and pages nothing
    current = database.run(lambda tx: references.current(tx, version.id))
    assert current is not None
    assert (current.id, current.provisional) == (old.id, True)

    assert build_next(database, words, indexes=indexes)
    built = database.run(lambda tx: references.details(tx, made_of(anew)))
    assert (built.reference.state, built.reference.error) == (ReferenceState.READY, None)
    assert built.source is ReferenceSource.ACCEPT
    assert built.reference.cause == "accepted as normal by ann: parcels are new"
    assert (built.reference.n_training, built.reference.n_baseline) == (50 + 125, 500)
    grown = indexes.open(database, built.reference.id)
    assert np.array_equal(grown[:50], indexes.open(database, old.id))
    # half of them, 250, would leave 200 of other subjects; half of that leaves 375 less 50
    parcels = words.embed(questions(125, of="parcel", start=2_000)).astype(np.float16)
    assert np.abs(grown[50:].astype(np.float32) - parcels.astype(np.float32)).max() < 1e-2
    assert built.request["appended"] == 125
    measured = database.run(lambda tx: calibrations.read_bins(tx, built.reference.id))
    assert measured["similarity"].counts.sum() + built.request["same_texts"] == 325
    assert measured["mean_nll"].counts.sum() == 500

    # feedback had not moved: what was said before is compared with, where there is any
    assert built.request["feedback"] == old.id

    # a parcel is near what is known now
    fresh = words.embed(["where is my parcel number 2999"]).astype(np.float32)
    assert float((grown.astype(np.float32) @ fresh[0]).max()) > 0.8
    assert float((grown[:50].astype(np.float32) @ fresh[0]).max()) < 0.8
    # said twice is said once
    assert said(database, incident) == []


def test_feedback_that_was_itself_accepted_is_not_compared_with_what_it_was(
    database: Database, version: Version, old: Reference
) -> None:
    del old
    [anew] = said(database, opened(database, version, crossed(detector="feedback")))
    made = database.run(lambda tx: references.details(tx, made_of(anew)))
    assert "feedback" not in made.request


def test_a_builder_that_comes_after_one_that_died_appends_once(  # noqa: PLR0917 - fixtures
    database: Database,
    version: Version,
    words: BagOfWords,
    indexes: Indexes,
    old: Reference,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del old
    [anew] = said(database, opened(database, version, crossed()))
    with monkeypatch.context() as patched:
        patched.setattr("monitor.reference.build.calibrate", lambda _: 1 / 0)
        assert build_next(database, words, indexes=indexes)
    half = database.run(lambda tx: references.get(tx, made_of(anew)))
    assert half is not None
    assert half.state is ReferenceState.BUILDING
    with database.begin() as tx:
        tx.exec_driver_sql('UPDATE "references" SET lease_until = NULL')
    assert build_next(database, words, indexes=indexes)
    built = database.run(lambda tx: references.get(tx, made_of(anew)))
    assert built is not None
    assert (built.state, built.n_training) == (ReferenceState.READY, 50 + 125)


def test_it_is_replaced_once_it_covers_enough_but_not_by_what_was_before(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes, old: Reference
) -> None:
    del old
    said(database, opened(database, version, crossed()))
    assert build_next(database, words, indexes=indexes)
    rules = LearnedSettings(least=400)
    now = ONSET + timedelta(days=13)
    with database.begin() as tx:
        tx.exec_driver_sql('UPDATE "references" SET ready_at = %s', (now - timedelta(days=3),))
    assert freeze_learned(database, now=now, settings=rules) == []
    # records before the onset would have made 14 days of it: cards are no parcels
    with database.begin() as tx:
        [found] = baselines.learning(
            tx, since=NOON - timedelta(days=28), now=now, again=now, least=100
        )
    assert (found.records, found.first_at) == (500, ONSET)


def test_too_few_records_since_the_onset_are_counted(
    database: Database, version: Version, old: Reference
) -> None:
    del old
    incident = opened(database, version, crossed(start=ONSET + timedelta(minutes=400)))
    with pytest.raises(NotMarkable, match="support@v1 has 100 records since 2026-11-10 19:10 UTC"):
        said(database, incident)
    row = database.run(lambda tx: incidents.incident(tx, incident))
    assert row is not None
    assert (row.marked, row.closed_at) == (None, None)


def test_records_are_counted_as_the_builder_counts_them(
    database: Database, version: Version, old: Reference
) -> None:
    del old
    with database.begin() as tx:  # each of 250 of the 500 with settings of its own
        tx.exec_driver_sql(
            "INSERT INTO contexts (source, stratum)"
            " SELECT 'push', 'rare ' || n FROM generate_series(1, 250) n"
        )
        tx.exec_driver_sql(
            "UPDATE records r SET context_id = c.id FROM contexts c, (SELECT id, row_number() OVER"
            " (ORDER BY at DESC) AS n FROM records) o WHERE o.id = r.id AND o.n <= 250"
            " AND c.stratum = 'rare ' || o.n"
        )
    incident = opened(database, version, crossed())
    with pytest.raises(NotMarkable, match=r"250 records of common settings \(500 in all\) since"):
        said(database, incident)


def test_other_weights_are_no_new_normal(
    database: Database, version: Version, old: Reference
) -> None:
    del old
    memory = Memory(
        identity=IdentityMemory(
            at=ONSET, state=IdentityState.NOT_APPLIED, reason="answers as the base does"
        )
    )
    incident = opened(database, version, memory)
    with pytest.raises(NotMarkable, match="which is no new normal: answers as the base does"):
        said(database, incident)


def test_a_classic_threshold_alone_says_not_what_the_new_normal_is(
    database: Database, version: Version
) -> None:
    # nothing would be compared anew, and its ticket would be back after three evaluations
    streaks = Streaks(by_detector={"logit_ks": Streak(value=0.001, past=3, open=True)})
    incident = opened(database, version, Memory(classic=streaks))
    with pytest.raises(NotMarkable, match="freeze a reference of what is normal"):
        said(database, incident)
    row = database.run(lambda tx: incidents.incident(tx, incident))
    assert row is not None
    assert (row.marked, row.closed_at) == (None, None)


def test_what_is_over_or_was_false_is_not_accepted(
    database: Database, version: Version, old: Reference
) -> None:
    del old
    incident = opened(database, version, crossed())
    word = Word(mark=Mark.FALSE_PAGE, by="bob", because="a test", at=WORD_AT)
    database.run(lambda tx: mark(tx, incident, word, hearers=Hearers()))
    with pytest.raises(NotMarkable, match="was marked as a false alarm by bob; that stands"):
        said(database, incident)
    with database.begin() as tx:
        tx.exec_driver_sql("UPDATE incidents SET marked = NULL")
    with pytest.raises(NotMarkable, match="is over: what is compared now no longer differs"):
        said(database, incident)
