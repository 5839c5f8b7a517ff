"""What was compared of the requests, and what was not: counted to the record."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.types import VerdictKind
from detectors import DETECTORS
from detectors.feedback import FEEDBACK
from detectors.signals import settings_of
from monitor.domain import EvaluationKind, Reference, ReferenceId, ReferenceState, Scope
from monitor.evaluate.calibrated import Calibrated
from monitor.evaluate.coverage import Requests, coverage
from monitor.evaluate.message import Messages
from monitor.outbox.channels import ConfiguredChannel
from monitor.policy.coverage import Cause, Coverage, CoveredWindow, Seen, Why, unpacked
from monitor.policy.settings import PolicySettings
from monitor.reference.learned import LearnedSettings
from monitor.reference.other_settings import SettingsLearner
from monitor.store.evaluation import evaluations, verdicts
from monitor.store.incidents import deliveries, incidents
from monitor.store.records.columns import SIGNALS
from monitor.strata import Strata, alike
from tests.arrivals import as_made
from tests.evaluate.test_fleet_incident import Nowhere
from tests.serving import serving

COLD, WARM, LONG = "temperature=0.2 max_tokens<=64", "temperature=0.7", "max_tokens<=1024"
STRATA = (COLD, WARM, LONG, "", "temperature=0.2 max_tokens<=64 logprobs=processed_logprobs")
SETTINGS = PolicySettings()
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
ALL = [detector for name, detector in DETECTORS.items() if name != FEEDBACK.name]


def reference(*, strata: tuple[str, ...] = (COLD,), without: tuple[str, ...] = ()) -> Calibrated:
    """Give one that carries every detector but some."""
    return Calibrated(
        reference=Reference(
            id=ReferenceId(1), version_id=Any, generation=1, state=ReferenceState.READY,  # type: ignore[arg-type]
            cause="test", strata=strata, created_at=NOON,
        ),
        hourly_rate=100.0,
        by_detector={
            one.name: SimpleNamespace(signals=one.signals)
            for one in ALL
            if one.name not in without
        },
        absent={},
        measured={one.name: 1.0 for one in ALL},
    )  # fmt: skip


def requests(
    strata: list[str], absent: list[frozenset[str]], *, failed: list[bool], **more: int
) -> Requests:
    """Lay out requests: each with its settings, the signals it lacks, and whether it failed."""
    signals = {
        name: np.array([np.nan if name in lacks else 0.0 for lacks in absent]) for name in SIGNALS
    }
    signals["error"] = np.where(failed, 1.0, 0.0)
    signals["n_tokens"] = np.where(failed, 0.0, 20.0)
    return Requests(signals=signals, strata=Strata.of(strata), **more)


MUST = {
    "logit_ks": ("mean_nll",),  # its length says nothing of an answer's log-probabilities
    "input_similarity": ("similarity",),
    "output_similarity": ("answer_distance",),
}

REQUEST = st.tuples(
    st.sampled_from(STRATA), st.frozensets(st.sampled_from(SIGNALS), max_size=30), st.booleans()
)


@given(
    mix=st.lists(REQUEST, max_size=40),
    known=st.lists(st.sampled_from(STRATA), min_size=1, max_size=3),
    skipped=st.integers(0, 50),
    late=st.integers(0, 50),
    waiting=st.integers(0, 50),
)
def test_what_was_compared_and_each_cause_add_up_to_the_requests(
    mix: list[tuple[str, frozenset[str], bool]],
    known: list[str],
    skipped: int,
    late: int,
    waiting: int,
) -> None:
    seen = requests(
        [one for one, _, _ in mix],
        [lacks for _, lacks, _ in mix],
        failed=[failed for _, _, failed in mix],
        skipped=skipped,
        late=late,
        waiting=waiting,
    )
    carries = reference(strata=tuple(known), without=("entropy",))
    for one in coverage(ALL, seen, carries, failed=frozenset({"refusal"})):
        assert one.compared + sum(one.gaps.values()) == one.requests == len(mix) + skipped + late
        assert all(n > 0 for n in one.gaps.values())
        assert one.expected <= one.requests


ASKED = {"errors", "input_similarity", "prompt_prefix"}
"""Detectors that need no answer."""


@pytest.mark.parametrize("seed", range(20))
def test_coverage_equals_a_count_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 400))
    strata = [STRATA[i] for i in rng.integers(0, len(STRATA), n)]
    absent = [frozenset(rng.choice(SIGNALS, rng.integers(0, 20)).tolist()) for _ in range(n)]
    failed = (rng.random(n) < 0.1).tolist()
    counted: Counter[str] = Counter()
    by_cause: Counter[tuple[str, Cause]] = Counter()
    for detector in ALL:
        needs = frozenset[str]().union(*map(settings_of, detector.signals))
        for settings, lacks, fell in zip(strata, absent, failed, strict=True):
            must = MUST.get(detector.name, detector.signals)
            measured = [
                s
                for s in must
                if (s not in lacks or s == "error") and alike(settings, [COLD], settings_of(s))
            ]
            if measured:
                counted[detector.name] += 1
            elif fell and detector.name not in ASKED:
                by_cause[detector.name, Cause.NO_ANSWER] += 1
            elif not alike(settings, [COLD], needs):
                by_cause[detector.name, Cause.SETTINGS] += 1
            elif detector.name in {"invalid", "training_text"}:  # most requests have none
                by_cause[detector.name, Cause.NO_ANSWER] += 1
            else:
                by_cause[detector.name, Cause.NOT_MEASURED] += 1
    found = coverage(ALL, requests(strata, absent, failed=failed), reference())
    assert {one.detector: one.compared for one in found if one.compared} == counted
    told: Counter[tuple[str, Cause]] = Counter()
    for one in found:
        for why, count in one.gaps.items():
            told[one.detector, why.cause] += count
    assert told == by_cause


def test_the_setting_that_differs_is_named_with_its_value() -> None:
    strata = [WARM, COLD, "temperature=0.2 max_tokens<=1024"]
    seen = requests(strata, [frozenset()] * 3, failed=[False] * 3)
    by_name = {one.detector: one for one in coverage(ALL, seen, reference())}
    assert by_name["logit_ks"].gaps == {
        Why(Cause.SETTINGS, "max_tokens 1024"): 1,
        Why(Cause.SETTINGS, "the default max_tokens, temperature 0.7"): 1,
    }
    assert by_name["input_similarity"].compared == by_name["errors"].compared == 3
    assert by_name["truncated"].compared == 1  # a limit decides what is cut off


def test_a_client_without_log_probabilities_is_not_compared_by_them() -> None:
    lacks = frozenset(SIGNALS) - {"log_length", "n_tokens", "error"}
    seen = requests([COLD] * 3, [lacks] * 3, failed=[False] * 3)
    (one,) = coverage([DETECTORS["logit_ks"]], seen, reference())
    assert (one.compared, one.gaps) == (0, {Why(Cause.NOT_MEASURED, "log-probabilities"): 3})


def test_a_refused_request_has_no_answer_to_compare() -> None:
    seen = requests([COLD] * 4, [frozenset(SIGNALS)] * 4, failed=[False] * 4)
    signals = {**seen.signals, "status": np.array([400.0, 422.0, 499.0, 200.0])}
    signals["n_tokens"] = np.full(4, np.nan)
    refused = Requests(signals=signals, strata=seen.strata)
    (one,) = coverage([DETECTORS["logit_ks"]], refused, reference())
    assert one.gaps[Why(Cause.NO_ANSWER)] == 3


def test_an_import_of_old_records_blinds_nobody_but_a_feed_that_is_always_late_does() -> None:
    (beside,) = coverage(
        [DETECTORS["logit_ks"]],
        requests([COLD] * 5, [frozenset()] * 5, failed=[False] * 5, late=5_000),
        reference(),
    )
    assert (beside.expected, beside.compared) == (5.0, 5)
    (alone,) = coverage(
        [DETECTORS["logit_ks"]], requests([], [], failed=[], late=5_000), reference()
    )
    assert (alone.expected, alone.compared) == (5_000.0, 0)


def test_settings_drawn_anew_by_each_request_take_no_room() -> None:
    strata = [f"temperature={n / 100:g}" for n in range(2, 90)]
    n = len(strata)
    seen = requests(strata, [frozenset()] * n, failed=[False] * n)
    (one,) = coverage([DETECTORS["entropy"]], seen, reference())
    assert len(one.gaps) == 6
    assert sum(one.gaps.values()) == n


def window(minute: int, compared: int, *, of: int = 20, usual: float = 1.0) -> CoveredWindow:
    gaps = {Why(Cause.SETTINGS, "temperature 0.7"): of - compared} if compared < of else {}
    one = Coverage(detector="logit_ks", requests=of, compared=compared, gaps=gaps, usual=usual)
    return CoveredWindow(end=NOON + timedelta(minutes=minute), by_detector={"logit_ks": one})


def after(*windows: CoveredWindow) -> Seen:
    seen = Seen()
    for one in windows:
        seen = seen.then("live", one, SETTINGS)
    return seen


def test_a_detector_is_blind_once_less_than_half_is_compared_over_four_windows() -> None:
    calm = [window(minute, 20) for minute in range(8)]
    assert after(*calm).blindness(SETTINGS) is None
    seen = after(*calm, window(8, 0), window(9, 0))
    assert seen.blindness(SETTINGS) is None  # exactly half
    blind = after(*calm, window(8, 0), window(9, 0), window(10, 0)).blindness(SETTINGS)
    assert blind is not None
    assert (blind.compared, blind.requests, blind.n) == (20, 80, 60)
    assert blind.why == Why(Cause.SETTINGS, "temperature 0.7")
    assert blind.since == NOON + timedelta(minutes=8)


def test_three_windows_or_nine_requests_are_too_few_to_be_blind_by() -> None:
    assert after(*(window(minute, 0) for minute in range(3))).blindness(SETTINGS) is None
    few = [window(minute, 0, of=2) for minute in range(4)]
    assert after(*few).blindness(SETTINGS) is None
    assert after(*few, window(5, 0, of=2)).blindness(SETTINGS) is not None


def test_what_the_reference_itself_could_not_measure_is_not_expected() -> None:
    third = [window(minute, 7, usual=1 / 3) for minute in range(6)]
    assert after(*third).blindness(SETTINGS) is None
    less = [window(minute, 2, usual=1 / 3) for minute in range(6)]
    assert after(*less).blindness(SETTINGS) is not None


def test_blindness_ends_only_well_above_where_it_began() -> None:
    """Half of the requests, give or take: told once, and not twenty times a day."""
    rng = np.random.default_rng(3)
    seen, told, was = Seen(), 0, False
    for minute in range(96):
        seen = seen.then("live", window(minute, int(rng.binomial(40, 0.5)), of=40), SETTINGS)
        now = seen.blindness(SETTINGS) is not None
        told, was = told + (now and not was), now
    assert 1 <= told <= 2


def test_a_detector_that_few_requests_can_be_measured_on_is_looked_at_for_longer() -> None:
    fifth = [window(minute, 0, of=10, usual=0.2) for minute in range(12)]
    assert after(*fifth).blindness(SETTINGS) is not None


def test_windows_without_requests_change_nothing() -> None:
    seen = after(*(window(minute, 0) for minute in range(4)))
    assert after(*(window(minute, 0) for minute in range(4)), window(9, 0, of=0)) == seen


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=30))
def test_what_was_seen_survives_its_storage(counts: list[tuple[int, int]]) -> None:
    seen = after(*(window(i, min(compared, of), of=of) for i, (compared, of) in enumerate(counts)))
    assert Seen.from_json(seen.to_json()) == seen


def messages() -> Messages:
    return Messages(
        channels=[ConfiguredChannel(name="all", channel=Nowhere())],
        preview=lambda *_, **__: None,
        doubts=lambda *_: {},
    )


def test_a_client_that_changes_its_temperature_is_told_within_four_windows_and_ended(
    world: Any,
) -> None:
    """The reference is of pushed records; the gateway's have another temperature."""
    evaluator = world.evaluator(tell=messages())

    def evaluate() -> VerdictKind:
        world.make_due()
        for kind in (EvaluationKind.LIVE, EvaluationKind.HARD):
            claim = world.claim(kind)
            assert claim is not None
            evaluator.evaluate(claim)
        row = world.database.run(lambda tx: verdicts.current(tx, version_id=world.version.id))
        return row.verdict.kind

    for _ in range(4):
        world.send(20, source="gateway")
        assert evaluate() is VerdictKind.STABLE  # the way in is no setting
    seen = []
    for _ in range(4):
        world.send(20, source="gateway", temperature=0.7)
        seen.append(evaluate())
    assert seen[-1] is VerdictKind.BLIND
    assert VerdictKind.DRIFTING not in seen
    told = world.database.run(lambda tx: deliveries.newest(tx, limit=10))
    (ticket,) = [row.alert for row in told]
    assert (ticket["kind"], ticket["severity"]) == ("blind", "ticket")
    assert "temperature 0.7" in ticket["unseen"]["cause"]
    assert ticket["unseen"]["mend"] == "driftline reference learn support v7"
    assert {one["detector"] for one in ticket["unseen"]["detectors"]} == {"logit_ks"}
    # what does not depend on the temperature is compared all the while
    rows = world.database.run(evaluations.latest_scores_of)
    by_name = {row.detector: row.details["coverage"] for row in rows}
    assert by_name["missing"]["compared"] == by_name["missing"]["requests"] == 20
    assert by_name["logit_ks"]["compared"] == 0
    for _ in range(4):
        world.send(40, source="gateway")
        last = evaluate()
    assert last is VerdictKind.STABLE
    assert not world.database.run(lambda tx: incidents.any_open(tx, world.version))


def test_a_page_in_force_stays_in_force_while_nothing_can_be_compared(world: Any) -> None:
    evaluator = world.evaluator(tell=messages())

    def evaluate() -> VerdictKind:
        world.make_due()
        claim = world.claim(EvaluationKind.LIVE)
        assert claim is not None
        evaluator.evaluate(claim)
        row = world.database.run(lambda tx: verdicts.current(tx, version_id=world.version.id))
        return row.verdict.kind

    for _ in range(2):
        world.send(80, shift=4.0)
        last = evaluate()
    assert last is VerdictKind.CRITICAL
    for _ in range(5):
        world.send(20, temperature=0.7)
        last = evaluate()
    assert last is VerdictKind.CRITICAL
    kinds = {
        row.alert["kind"] for row in world.database.run(lambda tx: deliveries.newest(tx, limit=9))
    }
    assert kinds == {"drift", "blind"}


def test_new_settings_get_a_reference_of_their_own_and_are_compared_again(world: Any) -> None:
    evaluator = world.evaluator(tell=messages())
    learner = SettingsLearner(world.database, rules=LearnedSettings(least=320))

    def evaluate() -> Any:
        world.make_due()
        claim = world.claim(EvaluationKind.LIVE)
        assert claim is not None
        evaluator.evaluate(claim)
        return world.database.run(lambda tx: verdicts.current(tx, version_id=world.version.id))

    def learn() -> list[str]:
        return learner.turn(now=datetime.now(tz=UTC))

    def compared() -> tuple[int, int]:
        rows = world.database.run(evaluations.latest_scores_of)
        (own,) = [row.details["coverage"] for row in rows if row.detector == "logit_ks"]
        return own["compared"], own["requests"]

    assert learn() == []
    for _ in range(4):
        world.send(70, temperature=0.7, shift=1.5)  # other answers than at the reference's own
        row = evaluate()
    assert row.verdict.kind is VerdictKind.BLIND
    assert learn() == []  # 280 of 320
    world.send(70, temperature=0.7, shift=1.5)
    evaluate()
    assert learn() == ["support@v7: temperature 0.7"]
    assert learn() == []
    for _ in range(3):
        world.send(60, temperature=0.7, shift=1.5)
        world.send(20)
        row = evaluate()
        assert compared() == (80, 80)
    assert row.verdict.kind is VerdictKind.STABLE
    assert not world.database.run(lambda tx: incidents.any_open(tx, world.version))
    ended = world.database.run(lambda tx: deliveries.newest(tx, limit=1))[0].alert
    assert (ended["kind"], ended["status"]) == ("blind", "recovered")
    assert str(ended["reason"]).endswith("a reference was learned for temperature 0.7")
    # and what goes wrong under the new settings is seen
    for _ in range(3):
        world.send(60, temperature=0.7, shift=6.0)
        row = evaluate()
    assert row.verdict.kind in {VerdictKind.DRIFTING, VerdictKind.CRITICAL}
    assert "logit_ks" in row.verdict.detectors


def test_a_person_may_have_new_settings_learned_from_fewer_records(
    world: Any, tmp_path: Path
) -> None:
    evaluator = world.evaluator(tell=messages())
    path = "/v1/adapters/support/versions/v7/reference/learn"
    with serving(world.database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        assert client.post(path).json() == {"learned": [], "waiting": []}
        for count in (200, 150):
            world.send(count, temperature=0.7)
            world.make_due()
            claim = world.claim(EvaluationKind.LIVE)
            assert claim is not None
            evaluator.evaluate(claim)
            answer = client.post(path).json()
            if count == 200:
                (waiting,) = answer["waiting"]
                assert (waiting["settings"], waiting["records"]) == ("temperature 0.7", 200)
    assert answer == {"learned": ["temperature 0.7"], "waiting": []}


def test_a_busy_day_before_does_not_hide_that_nothing_is_compared(world: Any) -> None:
    evaluator = world.evaluator(tell=messages())
    world.send(1_000, at=datetime.now(tz=UTC) - timedelta(hours=10))
    as_made(world.database)
    for _ in range(4):
        world.send(10, temperature=0.7)
        world.make_due()
        claim = world.claim(EvaluationKind.LIVE)
        assert claim is not None
        evaluator.evaluate(claim)
    row = world.database.run(lambda tx: verdicts.current(tx, version_id=world.version.id))
    assert row.verdict.kind is VerdictKind.BLIND


def test_what_is_wrong_is_not_learned_as_the_new_normal(world: Any, tmp_path: Path) -> None:
    """Weights break, it pages, and on-call turns the temperature down: that mends nothing."""
    evaluator = world.evaluator(tell=messages())
    learner = SettingsLearner(world.database, rules=LearnedSettings(least=300))

    def evaluate() -> VerdictKind:
        world.make_due()
        claim = world.claim(EvaluationKind.LIVE)
        assert claim is not None
        evaluator.evaluate(claim)
        row = world.database.run(lambda tx: verdicts.current(tx, version_id=world.version.id))
        return row.verdict.kind

    for _ in range(2):
        world.send(80, shift=4.0)
        last = evaluate()
    assert last is VerdictKind.CRITICAL
    for _ in range(5):
        world.send(80, shift=4.0, temperature=0.0)
        last = evaluate()
    assert last is VerdictKind.CRITICAL
    assert learner.turn(now=datetime.now(tz=UTC)) == []
    path = "/v1/adapters/support/versions/v7/reference/learn"
    with serving(world.database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        refused = client.post(path)
    assert refused.status_code == 409
    assert "what is wrong would become normal" in refused.json()["detail"]
    (ticket,) = [
        row.alert
        for row in world.database.run(lambda tx: deliveries.newest(tx, limit=9))
        if row.alert["kind"] == "blind"
    ]
    assert ticket["unseen"]["mend"] == "driftline status support"


def test_settings_of_few_requests_get_no_reference(world: Any) -> None:
    evaluator = world.evaluator(tell=messages())
    for _ in range(4):
        world.send(400)
        world.send(20, temperature=0.7)
        world.make_due()
        claim = world.claim(EvaluationKind.LIVE)
        assert claim is not None
        evaluator.evaluate(claim)
    learner = SettingsLearner(world.database, rules=LearnedSettings(least=50))
    assert learner.turn(now=datetime.now(tz=UTC)) == []


@pytest.mark.parametrize("seed", range(3))
def test_every_request_is_counted_once_over_all_windows(world: Any, seed: int) -> None:
    """Through intake, store and evaluator: bursts, pauses, answers that took an hour, failures."""
    rng = np.random.default_rng(seed)
    evaluator = world.evaluator(tell=messages())
    sent: Counter[str] = Counter({"": 1})  # the world begins with one
    failed = 0
    for _ in range(12):
        for _ in range(int(rng.integers(0, 4))):
            count = int(rng.integers(1, 12))
            setting = rng.choice(["", "0.2", "0.7"])
            more: dict[str, Any] = {"temperature": float(setting)} if setting else {}
            took = timedelta(minutes=float(rng.choice([0, 3, 65, 300])))
            if rng.random() < 0.3:
                more |= {"status": 500, "token_logprobs": None, "output": None}
                failed += count
            else:
                sent[setting] += count
            world.send(count, at=datetime.now(tz=UTC) - took, **more)
        world.make_due()
        claim = world.claim(EvaluationKind.LIVE)
        assert claim is not None
        evaluator.evaluate(claim)
    rows = world.rows("SELECT coverage FROM evaluations WHERE coverage IS NOT NULL")
    every = [unpacked(one) for row in rows for one in row.coverage]
    own = [one for one in every if one.detector == "logit_ks"]
    gaps: Counter[str] = Counter()
    for one in own:
        for why, n in one.gaps.items():
            gaps[f"{why.cause} {why.value}"] += n
    assert sum(one.compared for one in own) == sent[""]
    assert gaps["no_answer "] == failed
    for setting in ("0.2", "0.7"):
        assert gaps[f"settings temperature {setting}"] == sent[setting]
    assert sum(one.requests for one in own) == sum(sent.values()) + failed
