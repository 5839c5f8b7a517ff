"""What a client changes: how requests begin, how long they are, and the form of answers."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.statistics import live_signals
from benchmarks.statistics.streams import times
from detectors import DETECTORS
from detectors.errors import ReferenceTooSmall
from detectors.prompt_prefix import PROMPT_PREFIX
from detectors.rate_detector import RateDetector
from detectors.types import Budget, Floats, State, Window

DAY = 86_400.0
MONDAY = 1_699_833_600.0
SHARE = Budget(notice=1.0 / len(DETECTORS), page=0.0)
"""What each detector has of one accepted ticket in 30 days."""
KNOWN = 5_000


def window(signals: dict[str, Floats], *, after: float, days: float) -> Window:
    n = next(iter(signals.values())).size
    start = MONDAY + DAY * after
    at = start + DAY * days * (np.arange(n) + 0.5) / n
    return Window(start=start, end=start + DAY * days, at=at, signals=signals)


def drawn(name: str, rng: np.random.Generator, n: int) -> dict[str, Floats]:
    draw = {
        "prompt_length": live_signals.prompts,
        "prompt_prefix": live_signals.prefixes,
        "answer_format": live_signals.formats,
    }[name]
    return dict(draw(times(n, 8), day=0.0, known=0, rng=rng))


def longer(given: dict[str, Floats]) -> dict[str, Floats]:
    """A system prompt of 150 tokens before questions of 300 or so."""
    return {"prompt_tokens": given["prompt_tokens"] + 150.0}


def other_beginning(given: dict[str, Floats]) -> dict[str, Floats]:
    return {"prompt_prefix": np.full(given["prompt_prefix"].size, 123_456.0)}


def half_in_json(given: dict[str, Floats]) -> dict[str, Floats]:
    half = np.arange(given["format_json"].size) % 2 == 0
    return {name: np.where(half, float(name == "format_json"), v) for name, v in given.items()}


@pytest.mark.parametrize(
    ("name", "change", "within"),
    [
        ("prompt_length", longer, 100),
        ("prompt_prefix", other_beginning, 30),
        ("answer_format", half_in_json, 100),
    ],
)
def test_what_a_client_changes_for_all_opens_a_ticket_within_so_many_requests(
    name: str, change: object, within: int, rng: np.random.Generator
) -> None:
    """At a whole detector's share of one ticket in 30 days; KS at p < .05 sees as much."""
    detector = DETECTORS[name]
    reference = detector.fit(window(drawn(name, rng, KNOWN), after=0, days=14))
    for _ in range(20):
        usual = drawn(name, rng, within)
        now = window(change(usual), after=14, days=0.01)  # type: ignore[operator]
        score, _ = detector.score(reference, now, State(), SHARE)
        assert score.evidence_notice >= 0.0
        assert score.evidence_page == -np.inf
        quiet, _ = detector.score(reference, replace(now, signals=usual), State(), SHARE)
        assert quiet.evidence_notice < 0.0


def test_beginnings_that_change_every_day_are_counted_as_what_they_are(
    rng: np.random.Generator,
) -> None:
    at = MONDAY + 28 * DAY * (np.arange(2 * KNOWN) + 0.5) / (2 * KNOWN)
    found = live_signals.dated_prefixes(at, day=0.0, known=0, rng=rng)["prompt_prefix"]
    before, now = found[:KNOWN], found[KNOWN:]
    reference = PROMPT_PREFIX.fit(window({"prompt_prefix": before}, after=0, days=14))
    assert float(reference.null.mean[0]) == pytest.approx(0.45, abs=0.05)  # 40 % dated, 5 % own
    score, _ = PROMPT_PREFIX.score(
        reference, window({"prompt_prefix": now}, after=14, days=14), State(), SHARE
    )
    assert score.evidence_notice < 0.0


def test_where_every_request_begins_in_its_own_way_nothing_is_told(
    rng: np.random.Generator,
) -> None:
    own = {"prompt_prefix": rng.permutation(KNOWN).astype(np.float64)}
    reference = PROMPT_PREFIX.fit(window(own, after=0, days=14))
    now = window({"prompt_prefix": rng.random(2_000)}, after=14, days=1)
    score, _ = PROMPT_PREFIX.score(reference, now, State(), SHARE)
    assert score.evidence_notice < 0.0
    assert score.value == 0.0
    assert score.details["usual_prefixes"] == 0


def test_what_is_left_of_a_reference_must_be_large_enough() -> None:
    small = window({"prompt_prefix": np.ones(399)}, after=0, days=14)
    with pytest.raises(ReferenceTooSmall) as refused:
        PROMPT_PREFIX.fit(small)
    assert (refused.value.needed, refused.value.got) == (400, 399)


RATES = [detector for detector in DETECTORS.values() if isinstance(detector, RateDetector)]
BOTH = Budget(notice=1.0 / len(DETECTORS), page=0.1 / len(DETECTORS))


@pytest.mark.parametrize("rate", [1.0, 0.999, 0.99, 0.9, 0.0])
@pytest.mark.parametrize("detector", RATES, ids=lambda one: one.name)
def test_what_was_nearly_always_or_never_so_and_stays_so_is_no_news(
    detector: RateDetector, rate: float, rng: np.random.Generator
) -> None:
    """Where all answers were prose, a bound cut at .98 opened a ticket after 1,000 requests."""

    def given(n: int) -> dict[str, Floats]:
        rest = dict.fromkeys(detector.signals, np.zeros(n))
        return rest | {detector.signals[0]: (rng.random(n) < rate).astype(np.float64)}

    reference = detector.fit(window(given(1_200), after=0, days=14))
    state = State()
    for number in range(8):
        usual = window(given(2_500), after=14 + number, days=1)
        score, state = detector.score(reference, usual, state, BOTH)
        assert max(score.evidence_notice, score.evidence_page) < 0.0
