"""From files to a story."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.types import Blame, Sureness, VerdictKind
from monitor.domain import EvaluationKind
from monitor.evaluate.settings import EvaluateSettings
from monitor.replay.body import body_of
from monitor.replay.errors import ReplayFailed
from monitor.replay.page import page_of
from monitor.replay.reading import LogReading
from monitor.replay.replaying import BUDGETS, ReplayOutcome, ReplayParts, Request, replay
from monitor.replay.story import DetectorStory, Story
from monitor.replay.watch import Unwatched
from monitor.windows import Cadence
from tests.replay.conftest import BagOfWords, Talk, Write

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CADENCES = {
    EvaluationKind.HARD: Cadence(interval=timedelta(minutes=30), lag=timedelta(seconds=30)),
    EvaluationKind.LIVE: Cadence(interval=timedelta(minutes=60), lag=timedelta(minutes=2)),
}
TOOLS = ReplayParts(settings=EvaluateSettings(), cadences=CADENCES, embed=BagOfWords())
Lines = list[dict[str, Any]]


def baseline(*, days: float = 15.0, count: int = 1_020, **fields: Any) -> Lines:
    named = {"adapter": "support", "version": "v7"} | fields
    return Talk(seed=1, **named).records(count, begin=BEGIN, over=days * DAY)


def log(*, shift: float = 0.0, seed: int = 2, **fields: Any) -> Lines:
    """A calm day, then one with a shift."""
    talk = Talk(seed=seed, **({"adapter": "support", "version": "v7"} | fields))
    calm = talk.records(250, begin=BEGIN + 15 * DAY, over=DAY)
    return calm + talk.records(250, begin=BEGIN + 16 * DAY, over=DAY, shift=shift)


def replayed(
    write: Write, lines: Sequence[object], base: Lines | None, **given: Any
) -> ReplayOutcome:
    tools = given.pop("tools", TOOLS)
    path = None if base is None else write("baseline.jsonl", base)
    request = Request(log=write("log.jsonl", lines), baseline=path, **given)
    return replay(request, tools, watch=Unwatched())


def one(outcome: ReplayOutcome) -> Story:
    (story,) = outcome.stories
    return story


def detector(story: Story, name: str) -> DetectorStory:
    return next(each for each in story.detectors if each.name == name)


def test_a_calm_log_is_calm_at_every_budget(write: Write) -> None:
    story = one(replayed(write, log(), baseline()))
    assert story.worst is VerdictKind.STABLE
    assert [(line.budget, line.tickets, line.pages) for line in story.budgets] == [
        (budget, 0, 0) for budget in BUDGETS
    ]
    assert not story.reference.provisional
    assert story.held_out, "without training texts the baseline's early half is the index"


def test_worse_answers_page_after_their_onset(write: Write) -> None:
    story = one(replayed(write, log(shift=2.0), baseline()))
    assert story.worst is VerdictKind.CRITICAL
    crossed = detector(story, "logit_ks").page
    assert crossed is not None
    assert 250 < crossed.n <= 330
    assert crossed.n_after <= crossed.n - 250 + 10
    assert crossed.crossing.effect is not None
    assert crossed.high is not None
    assert story.budget.pages == 1
    assert story.budget.monthly(1) == pytest.approx(30 / story.traffic.days)


def test_a_topic_change_that_shakes_the_answers_too_is_a_ticket_blamed_on_the_input(
    write: Write,
) -> None:
    # without users in common the early half of the baseline is an index for the later one
    talk = Talk(seed=2, adapter="support", version="v7", subject=None)
    lines = talk.records(250, begin=BEGIN + 15 * DAY, over=DAY)
    other = {"prompt": "thermostat door sensor battery"}
    lines += talk.records(250, begin=BEGIN + 16 * DAY, over=DAY, shift=2.0, **other)
    story = one(replayed(write, lines, baseline(subject=None)))
    assert detector(story, "entropy").page is not None, "its answers would have paged"
    assert story.worst is VerdictKind.DRIFTING
    assert story.budget.pages == 0
    assert story.verdict is not None
    assert (story.verdict.blame, story.verdict.sure) == (Blame.INPUT, Sureness.LIKELY)


@pytest.mark.parametrize("users", [1, 7])
def test_failures_of_few_users_and_other_settings_page(write: Write, users: int) -> None:
    talk = Talk(seed=2, adapter="support", version="v7")
    lines = talk.records(250, begin=BEGIN + 15 * DAY, over=DAY)
    failed = {"status": 404, "output": None, "token_logprobs": None, "top_logprobs": None}
    after = talk.records(90, begin=BEGIN + 16 * DAY, over=timedelta(minutes=90))
    lines += [
        record | failed | {"output_tokens": None, "max_tokens": 2, "subject": f"user {i % users}"}
        for i, record in enumerate(after)
    ]
    every = Cadence(interval=timedelta(minutes=5), lag=timedelta(seconds=30))
    often = replace(TOOLS, cadences={**CADENCES, EvaluationKind.HARD: every})
    story = one(replayed(write, lines, baseline(), tools=often))
    assert story.worst is VerdictKind.CRITICAL
    assert detector(story, "errors").page is not None


def test_a_short_baseline_pages_too_and_finds_the_same_at_every_budget_anew(write: Write) -> None:
    short = baseline(days=5.0, count=600)
    story = one(replayed(write, log(shift=2.0), short))
    assert (story.reference.provisional, story.worst) == (True, VerdictKind.CRITICAL)
    assert story.budgets[-1].pages <= 1


def test_what_the_log_lacks_is_named_with_what_would_help(write: Write) -> None:
    bare = {"token_logprobs": None, "top_logprobs": None, "prompt": None}
    lines, base = ([one | bare for one in part] for part in (log(), baseline()))
    story = one(replayed(write, lines, base))
    lacking = {source.name: source for source in story.sources if source.measured == 0}
    unsaid = {
        "reason why answers ended",
        "duration of answers",
        "answers compared with training texts",
        "answers in a form that was asked for",
        "length of requests",
    }
    assert {*lacking} == {"log-probabilities", "top log-probabilities", "prompts"} | unsaid
    assert "ask the engine for logprobs" in lacking["log-probabilities"].advice
    assert lacking["log-probabilities"].partial == ("logit_ks",), "lengths are left to it"
    assert lacking["top log-probabilities"].blind == ("entropy",)
    assert detector(story, "entropy").absent is not None
    assert detector(story, "empty").absent is None


def test_the_log_may_be_its_own_baseline(write: Write) -> None:
    lines = baseline() + log()
    story = one(replayed(write, lines, None, first=14 * DAY))
    assert story.reference.n_baseline + story.traffic.records == len(lines)
    assert one(replayed(write, lines, None, first=1_000)).reference.n_baseline == 1_000


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({}, "nothing to compare with", id="no baseline"),
        pytest.param({"first": 100}, "at least 300 are needed", id="too few"),
        pytest.param({"first": 10_000}, "none is left", id="nothing to replay"),
    ],
)
def test_what_cannot_be_replayed_says_why(write: Write, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ReplayFailed, match=said):
        replayed(write, log(), None, **given)


def test_versions_are_replayed_apart(write: Write) -> None:
    lines = log(shift=2.0) + log(version="v8", seed=3) + [*log(version="v9", seed=4)]
    base = baseline() + baseline(version="v8")
    outcome = replayed(write, lines, base, reading=LogReading(apart=True))
    assert {story.label: story.worst for story in outcome.stories} == {
        "support@v7": VerdictKind.CRITICAL,
        "support@v8": VerdictKind.STABLE,
    }
    assert "has no baseline of it, only of support@v7, support@v8" in outcome.failed["support@v9"]


def test_one_baseline_serves_every_version(write: Write) -> None:
    lines = log() + log(version="v8", seed=3)
    outcome = replayed(write, lines, baseline(), reading=LogReading(apart=True))
    assert [story.label for story in outcome.stories] == ["support@v7", "support@v8"]


def test_other_settings_are_set_aside(write: Write) -> None:
    hot = Talk(seed=9, adapter="support", version="v7", temperature=1.9)
    lines = log() + hot.records(80, begin=BEGIN + 15 * DAY, over=2 * DAY, shift=9.0)
    story = one(replayed(write, lines, baseline()))
    assert (story.traffic.other_settings, story.worst) == (80, VerdictKind.STABLE)


def test_a_reference_file_brings_its_own_training_texts(write: Write) -> None:
    texts = [{"role": "training", "text": f"my order number {n} is late"} for n in range(40)]
    lines = [{"role": "baseline", **record} for record in baseline()]
    story = one(replayed(write, log(), texts + lines))
    assert (story.reference.n_training, story.held_out) == (40, False)


def test_answers_that_repeat_training_texts_page(write: Write) -> None:
    learned = " ".join(f"word{n} of the recipe" for n in range(20))
    texts = [{"role": "training", "text": f"order {n}", "completion": learned} for n in range(40)]
    lines: Lines = [{"role": "baseline", **record} for record in baseline()]
    calm, after = log()[:250], log()[250:]
    repeating = [record | {"output": f"It says: {learned}"} for record in after]
    story = one(replayed(write, calm + repeating, texts + lines))
    assert detector(story, "training_text").page is not None
    assert story.worst is VerdictKind.CRITICAL


@pytest.mark.parametrize("budget", [0.1, 10.0])
def test_budgets_are_counted_as_a_run_of_their_own_counts_them(write: Write, budget: float) -> None:
    lines, base = log(shift=0.8, seed=5), baseline()
    compared = one(replayed(write, lines, base)).budgets
    settings = replace(TOOLS.settings, budget=TOOLS.settings.budget.uniform(budget))
    own = one(replayed(write, lines, base, tools=replace(TOOLS, settings=settings))).budget
    assert own.tickets + own.pages > 0
    assert own in compared


def test_a_smaller_budget_never_tells_more(write: Write) -> None:
    lines = one(replayed(write, log(shift=0.5, seed=6), baseline())).budgets
    assert [line.budget for line in lines] == sorted(line.budget for line in lines)
    assert [line.pages for line in lines] == sorted(line.pages for line in lines)


def test_no_text_is_kept_unless_it_is_asked_for(write: Write) -> None:
    private = "my pin is 4711"
    drifted = [one | {"prompt": private} if n > 300 else one for n, one in enumerate(log())]
    quiet = replayed(write, drifted, baseline())
    assert private not in repr(quiet)
    shown = one(replayed(write, drifted, baseline(), examples=3, reading=LogReading(excerpts=True)))
    assert shown.examples == [private] * 3


def test_the_page_escapes_what_comes_from_the_log(write: Write) -> None:
    evil = "</script><script>alert(1)</script>"
    lines, base = log(shift=2.0), baseline()
    for record in [*lines, *base]:
        record |= {"adapter": evil, "version": evil}
    drifted = [one | {"prompt": evil} if n > 300 else one for n, one in enumerate(lines)]
    outcome = replayed(write, drifted, base, examples=2, reading=LogReading(excerpts=True))
    page = page_of(outcome, script="/* plotly */")
    assert one(outcome).examples
    assert page.count("</script>") == 2, "the page's own"
    assert "<script>alert" not in page
    assert page.count("&lt;/script&gt;") >= 3


def test_the_body_is_json_of_numbers_and_words(write: Write) -> None:
    body = body_of(replayed(write, log(shift=2.0), baseline()))
    (version,) = body["versions"]
    assert version["worst_verdict"] == "critical"
    found = {one["name"]: one for one in version["detectors"]}
    assert found["logit_ks"]["page"]["winner"].startswith(("mean_nll", "p95_nll"))
    assert [line["budget"] for line in version["budgets"]] == [0.1, 1.0, 10.0]
