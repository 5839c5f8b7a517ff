from datetime import timedelta
from typing import Any

import pytest

from alerts.matching import Matcher, parse_matcher
from alerts.silences import LONGEST, Silence, SilenceRefused, check, silencing
from tests.alert_samples import NOON, an_alert

HOUR = timedelta(hours=1)


def silence(number: int = 1, *, hours: float = 2, **match: Any) -> Silence:
    return Silence(
        id=number,
        matcher=parse_matcher(match or {"owner": "search"}),
        starts_at=NOON,
        ends_at=NOON + hours * HOUR,
        author="ann",
        comment="the load test of Tuesday",
    )


def test_it_holds_from_its_start_until_before_its_end() -> None:
    one = silence()
    moments = (NOON - timedelta(seconds=1), NOON, NOON + HOUR, NOON + 2 * HOUR)
    assert [one.active(now) for now in moments] == [False, True, True, False]


def test_of_several_the_one_that_holds_longest_is_named() -> None:
    several = [silence(1), silence(2, hours=5), silence(3, hours=9, adapter="billing")]
    found = silencing(several, an_alert(), now=NOON + HOUR)
    assert found is not None
    assert found.id == 2
    assert silencing(several, an_alert(), now=NOON + 6 * HOUR) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"matcher": Matcher()}, "something to match"),
        ({"ends_at": NOON}, "ends after it starts"),
        ({"now": NOON + LONGEST}, "over already"),
        ({"ends_at": NOON + LONGEST + timedelta(seconds=1)}, "90 days at most"),
        ({"comment": "  "}, "say why"),
        ({"comment": "x" * 501}, "at most 500"),
    ],
)
def test_what_nobody_can_have_meant_is_refused(changes: dict[str, object], why: str) -> None:
    asked: dict[str, object] = {
        "matcher": silence().matcher,
        "starts_at": NOON,
        "ends_at": NOON + LONGEST,
        "comment": "the load test of Tuesday",
        "now": NOON,
    }
    check(**asked)  # type: ignore[arg-type]
    with pytest.raises(SilenceRefused, match=why):
        check(**asked | changes)  # type: ignore[arg-type]
