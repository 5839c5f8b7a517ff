"""What one message says of an incident that the last one did not."""

from alerts.differing import update_between, updated
from alerts.message import Together, UpdatedFact
from alerts.types import Blame, Severity, Status, VerdictKind
from tests.alert_samples import an_alert, score_line

SLOW = (score_line(detector="latency", winner="latency_ms:up", evidence=1.2),)
ASKED = (
    *SLOW,
    score_line(detector="input_similarity", winner="similarity:low", evidence=7.0),
)
TOLD = an_alert(
    severity=Severity.TICKET, verdict=VerdictKind.DRIFTING, blame=Blame.SERVING, scores=SLOW
)
KNOWN = an_alert(
    severity=Severity.TICKET,
    verdict=VerdictKind.DRIFTING,
    blame=Blame.INPUT,
    scores=ASKED,
    status=Status.UPDATED,
)


def test_each_fact_is_said_as_it_was_and_as_it_is_and_all_of_them_in_one_sentence() -> None:
    update = update_between(TOLD, KNOWN)
    assert update is not None
    assert update.blame == UpdatedFact(was="serving", now="input")
    assert update.finding == UpdatedFact(
        was="answers slower", now="requests unlike the training examples"
    )
    assert update.severity is None
    assert update.text == (
        "likely cause was: serving, now: input; strongest sign was: answers slower,"
        " now: requests unlike the training examples"
    )


def test_a_page_whose_page_is_over_says_so_and_stays_the_alert_that_it_was() -> None:
    paged = an_alert(verdict=VerdictKind.CRITICAL, severity=Severity.PAGE)
    said = updated(paged, an_alert(verdict=VerdictKind.DRIFTING, severity=Severity.PAGE))
    assert said is not None
    assert said.update is not None
    assert said.update.text == "severity was: page, now: ticket"
    assert said.severity is Severity.PAGE


def test_what_is_the_same_or_not_known_any_more_is_no_update() -> None:
    assert update_between(TOLD, TOLD) is None
    assert update_between(TOLD, an_alert(verdict=VerdictKind.DRIFTING, blame=Blame.UNKNOWN)) == (
        update_between(TOLD, an_alert(verdict=VerdictKind.DRIFTING, blame=Blame.SERVING))
    )
    unknown = an_alert(verdict=VerdictKind.LEARNING, blame=Blame.UNKNOWN, scores=())
    assert update_between(TOLD, unknown) is None


def test_what_was_not_known_and_is_by_now_is_an_update() -> None:
    update = update_between(an_alert(blame=Blame.UNKNOWN), an_alert(blame=Blame.ADAPTER))
    assert update is not None
    assert update.text == "likely cause was: unknown, now: adapter"


def test_it_is_known_to_receivers_by_what_they_were_told_first() -> None:
    once = updated(TOLD, KNOWN)
    assert once is not None
    assert (once.blame, once.known_as) == (Blame.INPUT, Blame.SERVING)
    twice = updated(once, an_alert(verdict=VerdictKind.DRIFTING, blame=Blame.ADAPTER, scores=ASKED))
    assert twice is not None
    assert twice.update is not None
    assert (twice.blame, twice.known_as) == (Blame.ADAPTER, Blame.SERVING)
    assert twice.update.blame == UpdatedFact(was="input", now="adapter")


def test_the_members_of_a_fleet_incident_differ_in_severity() -> None:
    fleet = Together(base="llama", members=("support@v7",), of=10)
    page = an_alert(together=fleet, verdict=VerdictKind.CRITICAL)
    assert update_between(page, an_alert(together=fleet, verdict=VerdictKind.DRIFTING)) is None
