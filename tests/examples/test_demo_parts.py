import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from rich.console import Console

from examples.demo import owners_log, pictures
from examples.demo.acts import signs
from examples.demo.baselines import RECORDS
from examples.demo.cast import (
    BAD_RELEASE,
    GOOD_RELEASE,
    IN_CHARGE,
    REQUESTS_PER_SECOND,
    VERSIONS,
    domain_of,
)
from examples.demo.driftline_client import Adapter, Arm, Canary, Route, Score, Window
from examples.demo.engine_client import Reply, read_replies
from examples.demo.lookout import Seen, Sight
from examples.demo.narrator import Narrator
from examples.demo.outcome import ActResult
from examples.demo.questions import Questions, Topic
from examples.demo.receiver import Message
from examples.demo.records import record, reference_lines, stamps
from examples.demo.setting import CONFIG, DOCUMENTS_PER_DOMAIN
from examples.demo.tally import Tally
from examples.texts import ADAPTER_DOMAINS, NEW_TOPIC, Domain, Part, corpus, part
from monitor.capture.checks import Horizon
from monitor.config.loading import load
from monitor.domain import Mode
from monitor.gateway.records import SOURCE
from monitor.reference.lines import BaselineLine, TrainingLine, read_line

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
SUPPORT_V1 = Arm(arm="fallback", version="v1", model="support@v1", weight=0.25)
SUPPORT_V2 = Arm(arm="stable", version="v2", model="support@v2", weight=0.75)
REPLY = Reply(
    text="On Tuesday.",
    token_logprobs=[-0.1, -0.2, -0.3, -0.1],
    top_logprobs=[[-0.1, -3.0], [-0.2, -2.0], [-0.3, -2.5], [-0.1, -4.0]],
    finish_reason="stop",
)


def route(*arms: Arm, generation: int = 1, **more: Any) -> Route:
    return Route(adapter="support", generation=generation, arms=arms, **more)


# Texts and records


@pytest.mark.parametrize(
    "version", [*VERSIONS, GOOD_RELEASE, BAD_RELEASE], ids=lambda version: version.model
)
def test_weights_of_every_served_version_are_in_the_repository(version: Any) -> None:
    assert (version.weights / "adapter_model.safetensors").is_file()


def test_every_adapter_has_a_version_in_charge_and_traffic() -> None:
    names = {version.adapter for version in VERSIONS}
    assert names == IN_CHARGE.keys() == REQUESTS_PER_SECOND.keys()
    assert NEW_TOPIC not in {domain_of(name) for name in names}


def test_a_baseline_is_large_and_long_enough_to_be_approved_by_coverage() -> None:
    times = stamps(RECORDS, end=NOON)
    assert len(times) >= 1_000
    assert times[-1] - times[0] == timedelta(days=14)
    gaps = {b - a for a, b in pairwise(times)}
    assert max(gaps) - min(gaps) < timedelta(milliseconds=1)


def test_the_owners_log_gives_the_staffs_answers_to_what_it_knows() -> None:
    pair = part(NEW_TOPIC, Part.LIVE)[0]
    asked = {"r1": pair.prompt, "r2": "something that nobody asks"}
    assert list(owners_log.examples(asked, ["r1", "r2", "r3"])) == [
        {"id": "r1", "text": pair.transcript, "accepted": True}
    ]


@pytest.mark.parametrize("domain", ADAPTER_DOMAINS)
def test_training_baseline_corpus_and_live_texts_share_nothing(domain: Domain) -> None:
    held_out = part(domain, Part.HELD_OUT)
    texts = [
        {pair.prompt for pair in part(domain, Part.TRAIN)},
        {pair.prompt for pair in held_out[:RECORDS]},
        {pair.prompt for pair in held_out[-DOCUMENTS_PER_DOMAIN:]},
        {pair.prompt for pair in part(domain, Part.LIVE)},
    ]
    assert len(set().union(*texts)) == sum(map(len, texts))
    measured = {pair.transcript for pair in held_out[-DOCUMENTS_PER_DOMAIN:]}
    assert set(corpus(domain, DOCUMENTS_PER_DOMAIN)) == measured


def test_reference_lines_are_what_an_upload_takes() -> None:
    baseline = [record(record_id="a", prompt="When?", reply=REPLY, at=NOON)]
    horizon = Horizon(now=NOON, retention=timedelta(days=90))
    lines = [
        read_line(line.strip(), adapter="support", version="v1", horizon=horizon)
        for line in reference_lines(["How?"], baseline)
    ]
    first, second = lines
    assert isinstance(first, TrainingLine)
    assert first.text == "How?"
    assert isinstance(second, BaselineLine)
    assert second.record.prompt == "When?"
    assert second.record.source == SOURCE
    assert second.record.token_logprobs == REPLY.token_logprobs


def test_replies_come_in_the_order_of_their_prompts_with_the_best_tokens_first() -> None:
    logprobs = {
        "token_logprobs": [-2.5],
        "top_logprobs": [{"a": -1.0, "z": -2.5, "b": -0.5, "c": -1.5, "d": -1.6, "e": -1.7}],
    }
    choices = [
        {"index": i, "text": f" answer {i} ", "finish_reason": "stop", "logprobs": logprobs}
        for i in (1, 0)
    ]
    first, second = read_replies({"choices": choices})
    assert (first.text, second.text) == ("answer 0", "answer 1")
    assert first.top_logprobs == [[-0.5, -1.0, -1.5, -1.6, -1.7]]


# Users


def test_a_share_of_the_users_changes_topic_and_comes_back() -> None:
    questions = Questions(Domain.BOOKING, seed=3)
    new = {pair.prompt for pair in part(NEW_TOPIC, Part.LIVE)}
    assert not any(next(questions) in new for _ in range(200))
    questions.topic = Topic(domain=NEW_TOPIC, share=0.6)
    # Binomial(1000, .6): 3 standard deviations are 46.
    assert 554 <= sum(next(questions) in new for _ in range(1_000)) <= 646
    questions.back_to_normal()
    assert not any(next(questions) in new for _ in range(200))


def test_the_tally_forgets_what_is_older_than_five_seconds() -> None:
    now = [100.0]
    tally = Tally(clock=lambda: now[0])
    for version in ("v1", "v1", "v2"):
        tally.add("support", version)
        now[0] += 2.0
    assert tally.recent("support") == {"v1": 1, "v2": 1}
    assert tally.recent("support", seconds=2.0) == {"v2": 1}
    assert tally.rate("support") == pytest.approx(0.4)
    assert tally.rate("booking") == 0.0
    assert tally.answered == 3
    assert tally.count("support", "v1") == 2
    assert tally.first("support", "v1", since=101.0) == 102.0
    assert tally.last("support", "v2") == 104.0
    assert tally.last("booking", "v1") is None


# What is seen and told


def message(**body: Any) -> Message:
    known = {
        "adapter": "support",
        "version": "v2",
        "severity": "page",
        "status": "started",
        "summary": "support@v2: [red]worse[/red]",
        "brief": {
            "title": "[PAGE] support@v2: [red]worse[/red]",
            "impact": "3 of 9 requests: [i]refund[/i]",
            "details": "evidence [1.2]",
        },
    }
    return Message(id="m", body=known | body)


def seen(verdict: str = "stable", *, version: str = "v2", answering: str = "v2") -> Seen:
    scores = tuple(
        Score(
            detector=name,
            version=version,
            window=Window(start=NOON, end=NOON),
            verdict=verdict,
            evidence=-3.0,
        )
        for name in ("logit_ks", "input_similarity", "perplexity")
    )
    state = Adapter(
        adapter="support",
        version=version,
        verdict=verdict,
        blame="unknown",
        reason="because",
        drift_score=0.0,
        route=route(SUPPORT_V1, SUPPORT_V2),
        scores=scores,
    )
    return Seen(state=state, rate=1.0, answering=Counter({answering: 3}))


def sight(*messages: Message, **adapters: Seen) -> Sight:
    everybody = {name: seen() for name in IN_CHARGE}
    return Sight(adapters=everybody | adapters, messages=messages)


def test_neither_a_recovery_of_a_page_nor_what_more_is_known_of_it_is_a_page() -> None:
    started, recovered = message(), message(status="recovered")
    assert signs.pages([started, message(status="updated"), recovered]) == [started]
    assert signs.recovered("support@v2")(sight(started, recovered))
    assert not signs.recovered("support@v2")(sight(recovered, started))
    assert not signs.paged("booking@v1")(sight(started))


def test_the_fleet_is_settled_when_every_adapter_is_stable() -> None:
    assert signs.settled(sight())
    assert signs.quiet("travel")(sight())
    assert not signs.quiet("travel")(sight(travel=seen("insufficient")))
    assert not signs.settled(sight(travel=seen("insufficient")))


def test_signs_hold_together_only_if_each_holds() -> None:
    both = signs.every(signs.answered_by("support", "v1"), signs.critical("support", "logit_ks"))
    assert both(sight(support=seen("critical", answering="v1")))
    assert not both(sight(support=seen("critical")))
    assert not both(sight(support=seen(answering="v1")))


def test_the_others_are_those_that_are_not_stable() -> None:
    view = sight(booking=seen("drifting"), travel=seen("critical"))
    assert signs.unsettled(view, besides="booking") == {"travel": "critical"}


def test_an_act_passes_only_if_something_was_checked_and_everything_held() -> None:
    result = ActResult(title="1")
    passed = [result.passed]
    result.check("this", passed=True)
    passed.append(result.passed)
    result.check("that", [], seen=3)
    passed.append(result.passed)
    assert passed == [False, True, False]
    assert [(check.what, check.seen) for check in result.missing] == [("that", "3")]


def shown(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(renderable)
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_texts_of_messages_are_shown_as_they_are() -> None:
    text = shown(
        pictures.message(
            message(
                examples=["[bold]x[/bold]"],
            )
        )
    )
    for part_ in (
        "[PAGE] support@v2: [red]worse[/red]",
        "Impact: 3 of 9 requests: [i]refund[/i]",
        "[1.2]",
        "[bold]x[/bold]",
    ):
        assert part_ in text


def test_the_fleet_shows_verdict_route_and_who_answers() -> None:
    text = shown(
        pictures.fleet(
            sight(support=seen("critical", answering="v1")), waiting_for="a page", share=0.5
        )
    )
    for word in ("support@v2", "critical", "v1 25%, v2 75% (generation 1)", "v1 100%", "a page"):
        assert word in text


def test_answers_of_the_service_are_read_by_name() -> None:
    body = {
        "detector": "logit_ks",
        "version": "v2",
        "window": {"start": NOON, "end": NOON},
        "verdict": "stable",
        "evidence": None,
        "details": {"evidence_notice": -2.0},
        "n_window": 40,
    }
    score = msgspec.convert(body, Score)
    assert score.strongest == -2.0


def canary(phase: str = "running", *, weight: float = 0.5) -> Canary:
    return Canary(
        canary=1,
        adapter="travel",
        version="v2",
        phase=phase,
        weight=weight,
        latched=False,
        reason="[red]because[/red]",
    )


def test_a_canary_is_shown_and_each_of_its_phases_is_told_once() -> None:
    console = Console(file=io.StringIO(), width=120)
    narrator = Narrator(console)
    for phase in ("prechecks", "running", "running", "rolled_back"):
        narrator.news(replace(sight(), canaries=(canary(phase),)))
    stream = console.file
    assert isinstance(stream, io.StringIO)
    told = [line for line in stream.getvalue().splitlines() if "canary travel@v2" in line]
    assert [line.split(": ")[1].split(" — ")[0] for line in told] == [
        "prechecks",
        "running",
        "rolled back",
    ]
    assert "[red]because[/red]" in told[0]
    picture = pictures.fleet(replace(sight(), canaries=(canary(),)), waiting_for="x", share=0.0)
    assert "canary travel@v2, 50%: running" in shown(picture)
    assert signs.canary_over(1)(replace(sight(), canaries=(canary("succeeded"),)))
    assert not signs.canary_over(1)(replace(sight(), canaries=(canary(),)))


# The config


def test_the_config_is_an_ordinary_one_in_seconds() -> None:
    environ = {
        "DEMO_WEBHOOK_URL": "http://127.0.0.1:9/on-call",
        "DEMO_WEBHOOK_SECRET": "whsec_" + 32 * "A",
        "DRIFTLINE_SERVING__ENGINES": '["http://127.0.0.1:9"]',
    }
    config = load(CONFIG, environ=environ)
    assert config.service.mode is Mode.AUTO
    assert config.serving.engines == ("http://127.0.0.1:9",)
    assert [channel.name for channel in config.channels] == ["on-call", "log"]
    assert config.alerting.shown_examples == 5
    minute = timedelta(minutes=1)
    assert all(cadence.interval < minute for cadence in config.schedule.cadences.values())
