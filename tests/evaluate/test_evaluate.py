"""From records to verdicts, through the store."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.domain import EvaluationKind, Interval, Version
from monitor.evaluate.evaluator import Ending, Evaluator
from monitor.evaluate.loading import Calibrations
from monitor.evaluate.read import Look, read
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import Preset
from monitor.schedule import LeaseSettings, Worker
from monitor.store.evaluation import evaluations, tasks, verdicts
from monitor.store.evaluation.tasks import Awaited, Claim, StaleLease
from monitor.store.registry import adapters, versions
from monitor.windows import Cadence, WindowPlan, offset_of, plan

Run = Callable[..., Any]


def verdict_of(world: Any) -> Any:
    return world.database.run(lambda tx: verdicts.current(tx, version_id=world.version.id))


def test_quiet_records_are_stable_and_every_score_is_stored(world: Any, evaluate: Run) -> None:
    for _ in range(3):
        world.send(60)
        assert evaluate() is Ending.DONE
    row = verdict_of(world)
    assert row.verdict.kind is VerdictKind.STABLE
    latest = world.database.run(evaluations.latest_scores_of)
    assert {score.detector for score in latest} == {"logit_ks", "missing"}
    assert all(score.evidence_notice < 0 for score in latest)
    assert len(world.rows("SELECT 1 FROM scores")) == 3 * len(latest)


def test_a_large_shift_is_critical_within_two_windows_with_its_onset(
    world: Any, evaluate: Run
) -> None:
    world.send(80)
    evaluate()
    began = datetime.now(tz=UTC)
    for _ in range(2):
        world.send(80, shift=2.0)
        evaluate()
    row = verdict_of(world)
    assert row.verdict.kind is VerdictKind.CRITICAL
    # either of the two signals of certainty may be the first to cross
    certain = ("answers less certain", "more surprising words in answers")
    assert row.verdict.reason.startswith(tuple(f"{one}, sure enough for a page" for one in certain))
    assert row.verdict.onset is not None
    assert abs(row.verdict.onset.end - began) < timedelta(seconds=30)
    assert world.reactions[-1].allowed
    changes = world.rows("SELECT before, after FROM transitions")
    assert ("stable", "critical") in [tuple(change) for change in changes]


def test_hard_signals_have_windows_of_their_own(world: Any, evaluate: Run) -> None:
    world.send(40, output="")
    evaluate(EvaluationKind.HARD)
    row = verdict_of(world)
    assert row.verdict.kind is VerdictKind.CRITICAL
    assert row.verdict.detectors == ("empty",)


def test_the_same_window_is_evaluated_once_whoever_holds_it(world: Any) -> None:
    world.send(60)
    world.make_due()
    claim = world.claim()
    evaluator = world.evaluator()
    assert evaluator.evaluate(claim) is Ending.DONE
    before = world.rows("SELECT body FROM process_states ORDER BY detector")
    # as if the commit's answer had been lost: the same claim is worked on again
    again = world.rows("UPDATE tasks SET next_window_start = next_window_start RETURNING epoch")
    assert again
    assert evaluator.evaluate(claim) is Ending.REPEATED
    assert world.rows("SELECT body FROM process_states ORDER BY detector") == before
    assert len(world.rows("SELECT 1 FROM evaluations WHERE kind = 'live'")) == 1


def test_a_holder_that_slept_past_its_lease_writes_nothing(world: Any) -> None:
    world.send(60)
    world.make_due()
    slept = world.claim(owner="slept")
    world.rows("UPDATE tasks SET lease_until = now() - interval '1 s' RETURNING 1")
    heir = world.claim(owner="heir")
    assert heir is not None
    assert heir.epoch == slept.epoch + 1
    with pytest.raises(StaleLease):
        world.evaluator().evaluate(slept)
    assert world.rows("SELECT 1 FROM scores") == []
    assert world.evaluator().evaluate(heir) is Ending.DONE


def test_a_claimed_task_is_nobody_elses(world: Any) -> None:
    world.make_due()
    assert world.claim(owner="a") is not None
    assert world.claim(owner="b") is None
    world.database.run(lambda tx: tasks.release(tx, owner="a"))
    assert world.claim(owner="b") is not None


def test_answers_that_took_longer_than_the_lag_are_evidence_all_the_same(
    world: Any, evaluate: Run
) -> None:
    world.send(60)
    evaluate()
    world.send(200, shift=5.0, at=datetime.now(tz=UTC) - timedelta(minutes=40))
    evaluate()
    assert verdict_of(world).verdict.kind is VerdictKind.CRITICAL
    read = world.rows("SELECT n_records, n_late FROM evaluations ORDER BY id DESC LIMIT 1")
    assert tuple(read[0]) == (200, 0)
    evaluate()  # they are in one window only
    read = world.rows("SELECT n_records, n_late FROM evaluations ORDER BY id DESC LIMIT 1")
    assert tuple(read[0]) == (0, 0)


def test_what_comes_a_day_late_is_counted_and_stays_out_of_the_evidence(
    world: Any, evaluate: Run
) -> None:
    world.send(60)
    evaluate()
    world.send(200, shift=5.0, at=datetime.now(tz=UTC) - timedelta(hours=25))
    evaluate()
    assert verdict_of(world).verdict.kind is VerdictKind.STABLE
    late = world.rows("SELECT n_late FROM evaluations ORDER BY id DESC LIMIT 1")
    assert late[0].n_late == 200


def test_records_of_other_settings_are_set_aside(world: Any, evaluate: Run) -> None:
    world.send(60)
    world.send(60, shift=5.0, temperature=0.2)
    evaluate()
    assert verdict_of(world).verdict.kind is VerdictKind.STABLE
    details = world.rows("SELECT details FROM latest_scores WHERE detector = 'logit_ks'")
    assert details[0].details["coverage"] == {
        "detector": "logit_ks",
        "requests": 121,
        "compared": 61,
        "gaps": [["settings", "temperature 0.2", 60]],
        "usual": 1.0,
    }


def test_a_version_without_a_reference_learns(world: Any, evaluate: Run) -> None:
    world.rows("UPDATE \"references\" SET state = 'failed', error = 'test' RETURNING 1")
    world.send(10)
    evaluate()
    assert verdict_of(world).verdict.kind is VerdictKind.LEARNING


def test_a_detector_that_raises_spoils_only_itself(world: Any, evaluate: Run) -> None:
    world.rows(
        "UPDATE process_states SET body = body RETURNING 1"
    )  # nothing yet: the first window creates them
    world.send(60)
    evaluate()
    # a state of another shape, as after a broken migration
    world.rows(
        "UPDATE process_states SET body = (SELECT body FROM process_states WHERE"
        " detector = 'missing') WHERE detector = 'logit_ks' RETURNING 1"
    )
    world.send(60)
    assert evaluate() is Ending.DONE
    row = verdict_of(world)
    assert row.memory.failures == {"logit_ks": 1}
    newest = world.rows(
        "SELECT detector FROM latest_scores WHERE at = (SELECT max(at) FROM scores)"
    )
    assert {r.detector for r in newest} == {"missing"}


def test_downtime_skips_all_but_the_newest_window(world: Any) -> None:
    world.rows(
        "UPDATE tasks SET next_window_start = now() - interval '50 min', next_due_at = now()"
        " WHERE kind = 'live' RETURNING 1"
    )
    claim = world.claim()
    inserts: list[str] = []

    def seen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO evaluations"):
            inserts.append(statement)

    sa.event.listen(world.database.engine, "before_cursor_execute", seen)
    assert world.evaluator().evaluate(claim) is Ending.DONE
    states = [row.state for row in world.rows("SELECT state FROM evaluations ORDER BY window_end")]
    assert states[-1] == "done"
    assert set(states[:-1]) == {"skipped"}
    assert len(states) in {9, 10}
    assert len(inserts) == 2  # the newest window, and all the others at once


def test_the_first_probe_of_a_version_does_not_wait_for_its_interval(world: Any) -> None:
    perplexity, hours = EvaluationKind.PERPLEXITY, timedelta(hours=6)

    def register(tx: Connection) -> Version:
        adapter = adapters.put(tx, name="travel")
        made = versions.put(tx, adapter=adapter, name="v1", model="travel@v1")
        first_due = {perplexity: timedelta(), EvaluationKind.LIVE: timedelta()}
        tasks.ensure(tx, first_due=first_due, at_once={perplexity})
        return made

    version = world.database.run(register)
    for kind, at_once in ((perplexity, True), (EvaluationKind.LIVE, False)):
        claims = [world.claim(kind) for _ in range(2)]
        claim = next(one for one in claims if one.version_id == version.id)
        planned = plan(
            now=claim.now,
            cadence=Cadence(interval=hours, lag=timedelta()),
            offset=offset_of(version.id, hours),
            start=claim.start,
            requested=claim.requested,
        )
        assert (planned.window is not None) is at_once


def test_traffic_is_counted_up_to_now_however_old_the_window_is(world: Any) -> None:
    world.send(30)
    world.make_due()
    claim = world.claim()
    hour = timedelta(hours=1)
    window = Interval(start=claim.now - 3 * hour, end=claim.now - 2 * hour)
    look = Look(
        claim=claim,
        window=window,
        planned=WindowPlan(window=window, skipped=(), next_due=claim.now),
    )
    [reading] = world.database.run(
        lambda tx: read(
            tx,
            [look],
            calibrated=Calibrations().current(tx, [claim.version_id]),
            settings=EvaluateSettings(),
        )
    )
    assert len(reading.window) == 0
    assert reading.recent.compared == 31
    assert claim.now - reading.recent.last_at < hour


def test_a_task_that_was_handed_back_is_not_leased_again_by_a_late_renewal(world: Any) -> None:
    world.send(60)
    world.make_due()
    claim = world.claim()
    assert world.evaluator().evaluate(claim) is Ending.DONE
    minute = timedelta(minutes=1)
    assert not world.database.run(lambda tx: tasks.renew(tx, [claim], lease=minute))
    world.make_due()
    assert world.claim() is not None


def test_a_new_reference_takes_a_quarantined_detector_back(world: Any, evaluate: Run) -> None:
    world.send(60)
    evaluate()
    world.rows(
        "UPDATE verdicts SET memory = jsonb_set(memory, '{failures}', '{\"logit_ks\": 5}')"
        " RETURNING 1"
    )
    world.send(60)
    evaluate()
    newest = "SELECT count(*) AS n FROM scores WHERE detector = 'logit_ks'"
    assert world.rows(newest)[0].n == 1
    world.refreeze()
    world.send(60)
    evaluate()
    assert world.rows(newest)[0].n == 2
    assert world.rows("SELECT memory FROM verdicts")[0].memory["failures"] == {}


def test_old_evaluations_go_in_bounded_steps_and_newer_ones_stay(world: Any, evaluate: Run) -> None:
    for _ in range(3):
        world.send(20)
        evaluate()
    newest = world.rows("SELECT id, window_end FROM evaluations ORDER BY id DESC LIMIT 1")[0]

    def drop() -> int:
        return world.database.run(
            lambda tx: evaluations.drop_older(tx, than=newest.window_end, most=1)
        )

    older = len(world.rows("SELECT 1 FROM evaluations")) - 1
    assert [drop() for _ in range(older + 1)] == [1] * older + [0]
    assert [row.id for row in world.rows("SELECT id FROM evaluations")] == [newest.id]


def test_an_evaluation_asked_for_before_the_version_has_tasks_is_not_lost(world: Any) -> None:
    world.rows("DELETE FROM tasks RETURNING 1")
    world.send(60)
    world.make_due()
    claim = world.claim()
    assert claim is not None
    assert claim.requested
    assert world.evaluator().evaluate(claim) is Ending.DONE


def test_a_commit_that_waits_for_the_verdict_holds_no_task_meanwhile(world: Any) -> None:
    world.send(60)
    world.make_due()
    claim = world.claim()
    with ThreadPoolExecutor(1) as pool:
        with world.database.begin() as other:
            verdicts.claim_row(
                other, version_id=world.version.id, adapter_id=world.version.adapter_id
            )
            done = pool.submit(world.evaluator().evaluate, claim)
            while not world.rows(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            ):
                assert not done.done()
            # as the other kind's evaluation does on a first suspicion
            other.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
            tasks.request(other, version_id=world.version.id, kinds=[EvaluationKind.LIVE])
        assert done.result() is Ending.DONE
    assert world.claim() is not None  # the request came while it was worked on


def test_what_somebody_waits_for_comes_before_what_is_merely_due(world: Any) -> None:
    def overdue_and_requested(tx: Connection) -> Version:
        adapter = adapters.put(tx, name="other")
        other = versions.put(tx, adapter=adapter, name="v1", model="other@v1")
        tasks.ensure(tx, first_due={EvaluationKind.PERPLEXITY: timedelta(hours=-1)})
        tasks.request(tx, version_id=world.version.id, kinds=[EvaluationKind.PERPLEXITY])
        return other

    other = world.database.run(overdue_and_requested)
    assert world.claim(EvaluationKind.PERPLEXITY).version_id == world.version.id
    assert world.claim(EvaluationKind.PERPLEXITY).version_id == other.id


def test_of_a_probe_is_known_when_it_is_due_and_whether_it_runs(world: Any) -> None:
    probe = EvaluationKind.PERPLEXITY

    def asked(tx: Connection) -> Awaited:
        return tasks.awaited(tx, version_id=world.version.id, kind=probe)

    world.database.run(lambda tx: tasks.ensure(tx, first_due={probe: timedelta()}))
    world.rows(
        "UPDATE tasks SET next_due_at = now() + interval '1 hour' WHERE kind = 'perplexity'"
        " RETURNING 1"
    )
    later = world.database.run(asked)
    assert later.due is not None
    assert not later.running
    world.database.run(lambda tx: tasks.request(tx, version_id=world.version.id, kinds=[probe]))
    assert world.database.run(asked) == Awaited()
    assert world.claim(probe) is not None
    assert world.database.run(asked) == Awaited(running=True)


def test_due_probes_of_adapters_at_hand_go_first_but_have_no_more_than_a_head_start(
    world: Any,
) -> None:
    probes = [EvaluationKind.PERPLEXITY]

    def register(tx: Connection, name: str) -> None:
        versions.put(tx, adapter=adapters.put(tx, name=name), name="v1", model=name)
        tasks.ensure(tx, first_due=dict.fromkeys(probes, timedelta()))

    for name, minutes in {"cold": 10, "warm": 1, "older": 17}.items():
        world.database.run(lambda tx, name=name: register(tx, name))
        world.rows(
            f"UPDATE tasks SET next_due_at = now() - interval '{minutes} min' FROM versions"
            f" WHERE versions.id = version_id AND model = '{name}' RETURNING 1"
        )
    world.rows(
        "DELETE FROM tasks USING versions WHERE versions.id = version_id"
        f" AND model = '{world.version.model}' RETURNING 1"
    )
    worked: list[str] = []

    class Noting:
        def evaluate(self, claim: Claim, looked: None) -> Ending:
            del looked
            found = world.database.run(lambda tx: versions.fetch_by_id(tx, claim.version_id))
            worked.append(found.model)
            return Ending.DONE

    worker = Worker(
        world.database,
        cast("Evaluator", Noting()),
        owner="me",
        kinds=probes,
        leases=LeaseSettings(),
        resident=lambda models: frozenset(models) & {"warm", "elsewhere"},
    )
    while worker.work():
        pass
    assert worked == ["older", "warm", "cold"]


def test_the_preset_classic_follows_the_windows_p_values(world: Any) -> None:
    for preset, counted in ((Preset.BUDGET, {}), (Preset.CLASSIC, {"logit_ks": 1})):
        world.send(60, shift=2.0)
        world.make_due()
        settings = EvaluateSettings(preset_of={"support": preset})
        assert world.evaluator(settings=settings).evaluate(world.claim()) is Ending.DONE
        classic = world.rows("SELECT memory FROM verdicts")[0].memory["classic"]
        assert {name: streak["past"] for name, streak in classic.items()} == counted
