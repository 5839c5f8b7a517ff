"""What is said of coverage, and how long it is remembered."""

from datetime import UTC, datetime, timedelta

from monitor.domain import EvaluationKind
from monitor.policy import PolicySettings
from monitor.policy.coverage import Cause, Coverage, CoveredWindow, Seen, Why
from monitor.policy.coverage_words import blind_share_words, coverage_words, least

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LIVE = EvaluationKind.LIVE
OTHER = Why(Cause.SETTINGS, "temperature 0.7")
FAILED = Why(Cause.NO_ANSWER)
ABSENT = Why(Cause.NO_REFERENCE, "the reference does not measure it")


def of(detector: str, compared: int, gaps: dict[Why, int], *, usual: float = 1.0) -> Coverage:
    requests = compared + sum(gaps.values())
    return Coverage(detector=detector, requests=requests, compared=compared, gaps=gaps, usual=usual)


def test_what_makes_blind_is_told_first_then_the_largest() -> None:
    one = of("entropy", 20, {FAILED: 70, OTHER: 10})
    assert coverage_words(one) == (
        "token entropy compared 20 of 100 requests;"
        " 10 use temperature 0.7, which the reference does not cover; 70 have no answer to look at"
    )
    assert coverage_words(of("entropy", 0, {ABSENT: 9})) == (
        "token entropy compared 0 of 9 requests;"
        " 9 are not compared: the reference does not measure it"
    )


def test_the_least_covered_is_that_of_what_could_be_compared() -> None:
    rare = of("invalid", 3, {FAILED: 97}, usual=0.03)
    absent = of("entropy", 0, {ABSENT: 100})
    some = of("logit_ks", 60, {OTHER: 40})
    assert least([rare, absent, some]) is some
    assert least([rare, absent]) is None


def test_a_small_or_an_excused_gap_is_no_news() -> None:
    assert blind_share_words(of("entropy", 96, {OTHER: 4})) is None
    assert blind_share_words(of("entropy", 10, {FAILED: 90})) is None
    said = blind_share_words(of("entropy", 8, {OTHER: 92}))
    assert said == "92 % of requests use temperature 0.7, which the reference does not cover"


def test_a_version_that_lost_its_traffic_is_not_blind_for_ever() -> None:
    settings = PolicySettings()
    seen = Seen()
    for n in range(4):
        one = of("logit_ks", 0, {OTHER: 25})
        window = CoveredWindow(end=NOW + n * timedelta(minutes=5), by_detector={"logit_ks": one})
        seen = seen.then(LIVE, window, settings)
    assert [one.detector for one in seen.blind(settings)] == ["logit_ks"]

    def empty(after: timedelta) -> Seen:
        nothing = {"logit_ks": of("logit_ks", 0, {})}
        return seen.then(LIVE, CoveredWindow(end=NOW + after, by_detector=nothing), settings)

    assert empty(timedelta(hours=23)).blindness(settings) is not None
    forgotten = empty(timedelta(hours=25))
    assert forgotten.blindness(settings) is None
    assert (forgotten.coverage(), forgotten.since) == ((), {})
