"""What on-call reads, of every kind of message; `messages.txt` shows all of it to a reviewer.

``python -m tests.alerts.test_brief`` writes that file anew.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.brief import brief, numbered, written
from alerts.closing import Closing
from alerts.message import Alert, NewGroup, Retraining, Together
from alerts.titles import summary
from alerts.types import Blame, Kind, Reason, Severity, Status
from alerts.words import LONGEST_TITLE
from detectors import DETECTORS
from detectors.perplexity import PERPLEXITY
from detectors.signals import SIGNALS
from monitor.outbox.writing import SILENT, learn_command
from monitor.traffic.trial.news import CanaryNews
from tests.alert_samples import BLIND, FULL, UPDATED, score_line
from tests.alerts import service_texts as texts

GOLDEN = Path(__file__).parent / "messages.txt"
FAILING = score_line(
    detector="errors", winner="error:rate", evidence=50.3, effect=0.55, n=140,
    count=77, of=140, usual=0.0,
)  # fmt: skip
PLAIN = replace(FULL, action=None, unlike=None, new=None, changes=(), cause="")
REASONS = {Kind.NO_DATA: SILENT, Kind.ERROR: texts.BROKEN, Kind.ROUTING: texts.IN_DOUBT}
MEMBERS = tuple(f"adapter-{n}@v1" for n in range(14))
TOGETHER = Together(base="llama-3.1-8b", members=MEMBERS, of=20, base_moved=True)
STATUSES = (Status.STARTED, Status.WORSENED, Status.REOPENED, Status.UPDATED, Status.RECOVERED)

RETRAINING = Retraining(
    request=1,
    cause="input",
    since=FULL.at - timedelta(days=20),
    until=FULL.at,
    parent="v6",
    replay_share=0.15,
    manifest="https://driftline.example/v1/retraining/1/manifest",
    compared=4000,
    unlike=1240,
    groups=tuple(NewGroup(count=n, share=n / 4000, subjects=9) for n in (310, 120, 80)),
)


def of_canary(news: CanaryNews, *, severity: Severity = Severity.TICKET) -> Alert:
    return replace(
        PLAIN,
        kind=Kind.CANARY,
        severity=severity,
        reason=news.text,
        action=news.action,
        scores=(),
        onset=None,
        blame=Blame.UNKNOWN,
    )


def of_drift() -> Iterator[tuple[str, Alert]]:
    for blame, severity, (outcome, action) in itertools.product(
        Blame, (Severity.PAGE, Severity.TICKET), texts.OUTCOMES.items()
    ):
        alert = replace(PLAIN, blame=blame, severity=severity, action=action)
        yield f"drift, {blame}, {severity}, {outcome}", alert


def of_findings() -> Iterator[tuple[str, Alert]]:
    """A message about each detector's own signals, each in the directions it can move."""
    for detector, one in DETECTORS.items():
        for signal in one.signals:
            if signal[-1].isdigit() and not signal.endswith("_1"):
                continue  # the axes of an embedding read alike
            for way in ("rate",) if one.profile.clause else ("up", "down"):
                times = 1.6 if one.profile.relative and way == "up" else None
                size = _size(way) | {"times": times}
                line = score_line(detector=detector, winner=f"{signal}:{way}", **size)
                yield (
                    f"found, {detector}, {signal}, {way}",
                    replace(PLAIN, scores=(line,), blame=Blame.UNKNOWN),
                )
    for value in (0.38, -0.12):
        probe = score_line(PERPLEXITY, f"{PERPLEXITY}:ratio", value=value, n=48, evidence=0.0)
        yield f"found, {PERPLEXITY}, {value}", replace(PLAIN, scores=(probe,), blame=Blame.ADAPTER)


def _size(way: str) -> dict[str, Any]:
    if way == "rate":
        return {"n": 140, "count": 31, "of": 140, "usual": 0.01, "evidence": 4.0}
    return {"n": 412, "effect": 0.38 if way == "up" else -0.38, "evidence": 1.6}


def of_brakes() -> Iterator[tuple[str, Alert]]:
    for gate, line in texts.STOPPED.items():
        yield f"blocked, {gate}", replace(PLAIN, scores=(FAILING,), action=line)


def of_kinds() -> Iterator[tuple[str, Alert]]:
    for kind, reason in REASONS.items():
        yield (
            f"{kind}",
            replace(
                PLAIN,
                kind=kind,
                severity=Severity.TICKET,
                reason=reason,
                mend=learn_command(texts.V7) if kind is Kind.ERROR else "",
                scores=(),
                onset=None,
                blame=Blame.UNKNOWN,
            ),
        )
    yield "retrain", replace(PLAIN, kind=Kind.RETRAIN, retraining=RETRAINING)
    aged = replace(RETRAINING, cause="max_age", compared=0, unlike=0, groups=())
    yield "retrain, of old age", replace(PLAIN, kind=Kind.RETRAIN, retraining=aged)
    yield "blind", BLIND
    yield "canary, undecided", of_canary(texts.UNDECIDED)
    yield "canary, not measured", of_canary(texts.BLIND)
    yield "canary, worse", of_canary(texts.KEPT, severity=Severity.PAGE)
    yield "canary, rolled back", of_canary(texts.ROLLED_BACK)
    over = FULL.at + timedelta(minutes=38)
    yield (
        "canary, over",
        replace(of_canary(texts.UNDECIDED), status=Status.RECOVERED, at=over, recovered_at=over),
    )


def of_moments() -> Iterator[tuple[str, Alert]]:
    later = FULL.at + timedelta(minutes=38)
    for status in STATUSES:
        over = later if status is Status.RECOVERED else None
        yield f"{status}", replace(FULL, status=status, at=later, recovered_at=over)
    for closing in Closing:
        yield (
            f"ended, {closing}",
            replace(
                FULL,
                status=Status.RECOVERED,
                closing=closing,
                part_of=4 if closing is Closing.PART_OF_FLEET else None,
                at=later,
                recovered_at=later,
            ),
        )
    back = replace(FULL, status=Status.RECOVERED, at=later, recovered_at=later)
    yield "recovered, and back", replace(back, action=texts.RETURNED)
    yield "updated", UPDATED
    yield "still open", replace(FULL, notification_reason=Reason.REPEAT)
    yield "alone on its base", replace(PLAIN, scores=(FAILING,), alone_on="llama-3.1-8b")
    yield "another adapter answers", replace(PLAIN, blame=Blame.SERVING, answers_as="sales@v3")
    unlike = score_line(
        detector="input_similarity", winner="similarity:low", effect=-0.4, n=412, evidence=1.2
    )
    other = replace(PLAIN, blame=Blame.INPUT, severity=Severity.TICKET, scores=(unlike,))
    yield "a new topic", replace(other, unlike=FULL.unlike, new=FULL.new)
    yield "together", replace(PLAIN, together=TOGETHER, blame=Blame.BASE)
    declared = replace(PLAIN, together=TOGETHER, blame=Blame.BASE, changes=FULL.changes)
    yield "together, after a declared change", declared
    yield (
        "the base alone",
        replace(PLAIN, together=replace(TOGETHER, members=("adapter-0@v1",)), blame=Blame.BASE),
    )
    yield "a test", replace(FULL, test=True)


ALL = dict(itertools.chain(of_drift(), of_findings(), of_brakes(), of_kinds(), of_moments()))


def shown() -> str:
    """Write every message as people see it."""
    parts = []
    for name, alert in ALL.items():
        lines = [f"{part}: {text}" for part, text in written(brief(alert)).items()]
        parts.append("\n".join([f"## {name}", *lines]))
    return "\n\n".join(parts) + "\n"


@pytest.mark.parametrize("outcome", texts.OUTCOMES)
def test_another_version_has_every_request_only_once_the_router_confirmed_it(outcome: str) -> None:
    moved = replace(PLAIN, severity=Severity.PAGE, action=texts.OUTCOMES[outcome])
    over = replace(moved, status=Status.RECOVERED, recovered_at=FULL.at)
    said = "has every request now" in numbered(brief(moved).steps)
    still = "still answers every request" in brief(over).done
    assert (said, still) == ((True, True) if outcome == "moved" else (False, False))


def test_every_message_reads_as_it_was_reviewed() -> None:
    assert shown() == GOLDEN.read_text(), "if it is meant: python -m tests.alerts.test_brief"


@pytest.mark.parametrize("name", ALL)
def test_a_message_is_short_and_holds_no_words_of_the_machine(name: str) -> None:
    reads_well(ALL[name])


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_reads_well_with_every_blame_severity_outcome_and_status(kind: Kind) -> None:
    sample = next(one for one in ALL.values() if one.kind is kind)
    for blame, severity, action, status in itertools.product(
        Blame, Severity, texts.OUTCOMES.values(), STATUSES
    ):
        over = FULL.at if status is Status.RECOVERED else None
        reads_well(
            replace(
                sample,
                blame=blame,
                severity=severity,
                action=action,
                status=status,
                recovered_at=over,
            )
        )


MACHINE = {one for one in (*DETECTORS, *SIGNALS) if "_" in one} | {"error:rate"}
"""Identifiers that are no words of everyday language as well, as `latency` is."""


def reads_well(alert: Alert) -> None:
    said = brief(alert)
    assert 0 < len(said.title) <= LONGEST_TITLE
    assert said.impact
    body = " ".join([f"{said.title}.", said.impact, said.cause, said.done, *said.steps])
    words = set(re.findall(r"[a-z0-9_]+(?::rate)?", body.lower()))
    assert not words & MACHINE
    for phrase in ("evidence", "page line", "winner", "null hypothesis", "crossed", "generation"):
        assert phrase not in body.lower()
    for sentence in re.split(r"(?<=[.!?]) ", body):
        negations = re.findall(
            r"\b(?:no|not|nobody|nothing|none|never|without)\b", sentence.lower()
        )
        assert len(negations) <= 1, sentence


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if one.firing])
def test_who_is_called_is_told_what_to_do(name: str) -> None:
    assert brief(ALL[name]).steps


@pytest.mark.parametrize("action", texts.OUTCOMES)
def test_what_became_of_the_traffic_is_said(action: str) -> None:
    said = brief(replace(PLAIN, action=texts.OUTCOMES[action]))
    line = texts.OUTCOMES[action]
    assert said.done
    if line is not None:
        assert line.text.lower().rstrip(".") in said.done.lower()


def test_a_list_says_what_the_title_says_without_its_tag_or_limit() -> None:
    for alert in (FULL, texts_of_fleet := ALL["together"]):
        _, _, rest = brief(alert).title.partition("] ")
        assert summary(alert).startswith(rest)
    assert summary(texts_of_fleet) == (
        "14 of 20 adapters on llama-3.1-8b changed together since 11:10 UTC"
    )


def test_a_rate_is_said_as_a_share_beside_its_normal_one() -> None:
    said = brief(replace(PLAIN, scores=(FAILING,)))
    assert said.title.startswith("[PAGE] support@v7: 55 % of requests fail (normally 0 %)")
    assert "77 of the newest 140 requests fail since 11:10 UTC (55 %, normally 0 %)" in said.impact


def test_a_task_says_what_to_retrain_from_and_where_the_examples_are() -> None:
    said = brief(replace(PLAIN, kind=Kind.RETRAIN, retraining=RETRAINING))
    assert said.title == ("[TASK] Retrain support from v6: 31 % of requests are unlike training")
    assert RETRAINING.manifest in said.steps[0]
    assert "mix in 15 % of what it was trained on" in said.steps[1]


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(adapter=names, version=names, base=names, name=st.sampled_from(sorted(ALL)))
def test_no_name_makes_a_title_longer(adapter: str, version: str, base: str, name: str) -> None:
    alert = ALL[name]
    together = alert.together and replace(alert.together, base=base)
    said = brief(replace(alert, adapter=adapter, version=version, together=together))
    assert len(said.title) <= LONGEST_TITLE


if __name__ == "__main__":
    GOLDEN.write_text(shown())


def test_an_update_of_the_cause_names_the_new_cause_in_its_title() -> None:
    assert UPDATED.update is not None
    assert UPDATED.update.blame is not None
    assert brief(UPDATED).title.endswith("; cause: requests")
    same = replace(UPDATED, update=replace(UPDATED.update, blame=None))
    assert "cause" not in brief(same).title


@pytest.mark.parametrize("blame", list(Blame))
def test_the_title_of_every_new_cause_fits(blame: Blame) -> None:
    title = brief(replace(UPDATED, blame=blame, unlike=None)).title
    assert "; cause" in title
    assert len(title) <= LONGEST_TITLE


def test_other_failures_that_are_sure_are_told_beside_the_strongest_sign() -> None:
    unsure = replace(FAILING, detector="empty", evidence=-0.2, clause="answers are empty")
    said = brief(replace(PLAIN, scores=(replace(FAILING, evidence=0.4), *PLAIN.scores, unsure)))
    assert "are less certain than normal ones" in said.impact
    assert "55 % of requests fail (normally 0 %)." in said.impact
    assert "empty" not in said.impact


@pytest.mark.parametrize(
    ("blame", "why"),
    [
        (Blame.INPUT, "gets the same requests"),
        (Blame.BASE, "answers on the same base and engine"),
    ],
)
def test_a_move_that_cannot_help_is_named_as_such(blame: Blame, why: str) -> None:
    moved = replace(PLAIN, blame=blame, action=texts.OUTCOMES["moved"])
    assert brief(moved).steps[0] == f"v6 {why}: route back if it does no better."
