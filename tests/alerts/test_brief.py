"""What on-call reads, of every kind of message; `messages.txt` shows all of it to a reviewer.

``python -m tests.alerts.test_brief`` writes that file anew.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.brief import LONGEST_TITLE, brief, written
from alerts.incident import Closing
from alerts.message import ActionLine, Alert, Done, Retraining, Together
from alerts.types import Blame, Kind, Reason, Severity, Status
from detectors import DETECTORS
from tests.alert_samples import BLIND, FULL, UPDATED, score_line

GOLDEN = Path(__file__).parent / "messages.txt"
FAILING = score_line(
    detector="errors", winner="error:rate", evidence=50.3, effect=0.55, n=140,
    count=77, of=140, usual=0.0,
)  # fmt: skip
ACTIONS = {
    "moved": ActionLine(
        done=Done.TAKEN,
        kind="fallback",
        text="moved 100 % of traffic to v6, confirmed by the router",
        short="traffic moved to v6",
    ),
    "not confirmed": ActionLine(
        done=Done.TAKEN,
        kind="fallback",
        text="asked the router to move 100 % of traffic to v6; it has not confirmed",
        short="move unconfirmed",
        unconfirmed=True,
    ),
    "blocked": ActionLine(
        done=Done.BLOCKED,
        kind="fallback",
        text="299 of 300 adapters have not been evaluated since, so the engine may be at fault",
    ),
    "recommended": ActionLine(
        done=Done.RECOMMENDED, kind="fallback", text="move 100 % of traffic to v6"
    ),
    "none": None,
}
PLAIN = replace(FULL, action=None, unlike=None, new=None, changes=(), cause="")
REASONS = {
    Kind.ERROR: "logit_ks: 5 errors in a row; off until a new reference",
    Kind.ROUTING: "v6 was to get 100 % at generation 4; the router still serves generation 3",
}
TOGETHER = Together(base="llama-3.1-8b", members=tuple(f"adapter-{n}@v1" for n in range(14)), of=20)
STATUSES = (Status.STARTED, Status.WORSENED, Status.REOPENED, Status.UPDATED, Status.RECOVERED)


STOPPED = (
    "canary paused at 50 %, still undecided: still undecided after 3 extensions: 78 of 200 requests"
)
KEPT = ActionLine(done=Done.TAKEN, kind="canary", text="50 % of the requests still go to v7")


def of_canary(reason: str, action: ActionLine, *, severity: Severity = Severity.TICKET) -> Alert:
    return replace(
        PLAIN,
        kind=Kind.CANARY,
        severity=severity,
        reason=reason,
        action=action,
        scores=(),
        onset=None,
        blame=Blame.UNKNOWN,
    )


def of_drift() -> Iterator[tuple[str, Alert]]:
    for blame, severity, (outcome, action) in itertools.product(
        Blame, (Severity.PAGE, Severity.TICKET), ACTIONS.items()
    ):
        alert = replace(PLAIN, blame=blame, severity=severity, action=action)
        yield f"drift, {blame}, {severity}, {outcome}", alert


def of_kinds() -> Iterator[tuple[str, Alert]]:
    for kind in Kind:
        if kind in {Kind.DRIFT, Kind.BLIND, Kind.CANARY}:
            continue
        yield (
            f"{kind}",
            replace(
                PLAIN,
                kind=kind,
                severity=Severity.TICKET,
                reason=REASONS.get(kind, ""),
                scores=(),
                onset=None,
                blame=Blame.UNKNOWN,
            ),
        )
    yield "blind", BLIND
    yield "canary, undecided", of_canary(STOPPED, KEPT)
    yield (
        "canary, worse",
        of_canary(
            "canary answers worse, but is not rolled back: solved -0.120 (95 %: -0.200 to"
            " -0.060), beyond the limit -0.05; not rolled back: the mode is observe",
            ActionLine(
                done=Done.RECOMMENDED, kind="rollback", text="give the requests of v7 back to v6"
            ),
            severity=Severity.PAGE,
        ),
    )
    yield (
        "canary, rolled back",
        of_canary(
            "canary rolled back: solved -0.120 (95 %: -0.200 to -0.060), beyond the limit -0.05",
            ActionLine(
                done=Done.TAKEN,
                kind="rollback",
                text="all requests go to v6 again; v7 is out until somebody lets it try again",
            ),
        ),
    )
    over = FULL.at + timedelta(minutes=38)
    yield (
        "canary, over",
        replace(
            of_canary("canary running: goes on", KEPT),
            status=Status.RECOVERED,
            at=over,
            recovered_at=over,
        ),
    )


def of_moments() -> Iterator[tuple[str, Alert]]:
    later = FULL.at + timedelta(minutes=38)
    for status in STATUSES:
        over = later if status is Status.RECOVERED else None
        yield f"{status}", replace(FULL, status=status, at=later, recovered_at=over)
    for closing in Closing:
        yield (
            f"ended, {closing}",
            replace(FULL, status=Status.RECOVERED, closing=closing, at=later, recovered_at=later),
        )
    yield "updated", UPDATED
    yield "still open", replace(FULL, notification_reason=Reason.REPEAT)
    yield "requests fail", replace(PLAIN, scores=(FAILING,), action=ACTIONS["blocked"])
    yield "together", replace(PLAIN, together=TOGETHER, blame=Blame.BASE)
    yield (
        "the base alone",
        replace(PLAIN, together=replace(TOGETHER, members=("adapter-0@v1",)), blame=Blame.BASE),
    )
    yield "a test", replace(FULL, test=True)


ALL = dict(itertools.chain(of_drift(), of_kinds(), of_moments()))


def shown() -> str:
    """Write every message as people see it."""
    parts = []
    for name, alert in ALL.items():
        lines = [f"{part}: {text}" for part, text in written(brief(alert)).items()]
        parts.append("\n".join([f"## {name}", *lines]))
    return "\n\n".join(parts) + "\n"


def test_every_message_reads_as_it_was_reviewed() -> None:
    assert shown() == GOLDEN.read_text(), "if it is meant: python -m tests.alerts.test_brief"


@pytest.mark.parametrize("name", ALL)
def test_a_message_is_short_and_holds_no_words_of_the_machine(name: str) -> None:
    reads_well(ALL[name])


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_reads_well_with_every_blame_severity_outcome_and_status(kind: Kind) -> None:
    sample = next(one for one in ALL.values() if one.kind is kind)
    for blame, severity, action, status in itertools.product(
        Blame, Severity, ACTIONS.values(), STATUSES
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


def reads_well(alert: Alert) -> None:
    said = brief(alert)
    assert 0 < len(said.title) <= LONGEST_TITLE
    assert said.impact
    body = " ".join([said.title, said.impact, said.cause, said.done, *said.steps])
    words = set(re.findall(r"[a-z0-9_:%]+", body.lower()))
    machine = {one for one in DETECTORS if "_" in one} | {"mean_nll", "error:rate"}
    assert not words & machine
    for phrase in ("evidence", "page line", "winner", "null hypothesis", "crossed"):
        assert phrase not in body.lower()
    for sentence in re.split(r"(?<=[.!?]) ", body):
        negations = re.findall(
            r"\b(?:no|not|nobody|nothing|none|never|without)\b", sentence.lower()
        )
        assert len(negations) <= 1 or ":" in sentence, sentence


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if one.firing])
def test_who_is_called_is_told_what_to_do(name: str) -> None:
    assert brief(ALL[name]).steps


@pytest.mark.parametrize("action", ACTIONS)
def test_what_became_of_the_traffic_is_said(action: str) -> None:
    said = brief(replace(PLAIN, action=ACTIONS[action]))
    line = ACTIONS[action]
    assert said.done
    if line is not None:
        assert line.text.lower().rstrip(".") in said.done.lower()


def test_a_rate_is_said_as_a_share_beside_its_normal_one() -> None:
    said = brief(replace(PLAIN, scores=(FAILING,)))
    assert said.title.startswith("[PAGE] support@v7: 55 % of requests fail (normally 0 %)")
    assert "77 of the newest 140 (55 %, normally 0 %)" in said.impact


def test_a_task_says_what_to_retrain_from_and_where_the_examples_are() -> None:
    asked = Retraining(
        request=1,
        cause="input",
        since=FULL.at - timedelta(days=20),
        until=FULL.at,
        parent="v1",
        replay_share=0.15,
        manifest="https://driftline.example/v1/retraining/1/manifest",
        compared=4000,
        unlike=1240,
    )
    said = brief(replace(PLAIN, kind=Kind.RETRAIN, retraining=asked))
    assert said.title == (
        "[TASK] support@v7: retrain from v1, 31 % of requests are unlike training"
    )
    assert asked.manifest in said.steps[0]
    assert "15 % of the old examples" in said.steps[1]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(adapter=texts, version=texts, base=texts, name=st.sampled_from(sorted(ALL)))
def test_no_name_makes_a_title_longer(adapter: str, version: str, base: str, name: str) -> None:
    alert = ALL[name]
    together = alert.together and replace(alert.together, base=base)
    said = brief(replace(alert, adapter=adapter, version=version, together=together))
    assert len(said.title) <= LONGEST_TITLE


if __name__ == "__main__":
    GOLDEN.write_text(shown())
