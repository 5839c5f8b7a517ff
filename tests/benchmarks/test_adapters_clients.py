"""Ways of the benchmark of broken adapters that change what clients ask, or how."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from benchmarks.adapters.clients import Run, in_new_order, usual
from benchmarks.adapters.tasks import LIVE, TASKS, pairs, task
from benchmarks.adapters.ways import WAYS
from benchmarks.adapters.ways.way import Ask, Moment, OfClients

OF_CLIENTS = {way.name: way.fault for way in WAYS if isinstance(way.fault, OfClients)}
MANY = 400
NEW = {pair.prompt for pair in pairs("voice")}


def asked(way: str, *, adapter: str = "bank", count: int = MANY) -> Sequence[tuple[Ask, Ask]]:
    """What would have been asked, and what is."""
    chance, found = Random(3), []  # noqa: S311 - no secret
    for number in range(count):
        before = usual(chance.choice(task(adapter).live).prompt, chance)
        moment = Moment(number=number, task=task(adapter), chance=chance)
        found.append((before, OF_CLIENTS[way].change(before, moment)))
    return found


def share(way: str, of: set[str]) -> float:
    return sum(after.question in of for _, after in asked(way)) / MANY


@pytest.mark.parametrize(("name", "wanted"), [("5", 0.05), ("20", 0.2), ("100", 1.0)])
def test_a_new_topic_is_its_share_of_the_questions(name: str, wanted: float) -> None:
    # three standard errors of a share of 400
    assert share(f"new-topic-{name}", NEW) == pytest.approx(
        wanted, abs=3 * (wanted * (1 - wanted) / MANY) ** 0.5 + 1e-9
    )


def test_clients_that_are_stopped_do_not_wait_for_their_next_moment() -> None:
    run = Run(adapter="bank", part="company")

    async def stop_within_an_hour() -> bool:
        waiting = asyncio.create_task(run.goes_on(3_600.0))
        await asyncio.sleep(0)
        run.stopped.set()
        return await waiting

    assert asyncio.run(stop_within_an_hour()) is False


def test_usual_questions_are_of_the_task_and_never_learned_from() -> None:
    for name in TASKS:
        learned = {pair.prompt for pair in task(name).training}
        kept = {pair.prompt for pair in task(name).baseline}
        live = {pair.prompt for pair in task(name).live}
        assert not live & learned
        assert not live & kept
        assert not kept & learned
        asked = in_new_order(name, Random(3))  # noqa: S311 - no secret
        assert asked != in_new_order(name, Random(4))  # noqa: S311 - no secret
        assert len(asked) == LIVE
        assert set(asked) == live


def test_a_system_prompt_is_added_or_emptied_before_the_question() -> None:
    for name, filled in (("system-prompt-added", True), ("system-prompt-dropped", False)):
        for before, after in asked(name, count=3):
            first, *rest = after.messages
            assert first["role"] == "system"
            assert bool(first["content"]) is filled
            assert rest == list(before.messages)


def test_another_template_and_a_notice_keep_the_question() -> None:
    for name in ("other-template", "boilerplate"):
        for before, after in asked(name, count=3):
            assert before.question in after.question
            assert len(after.question) > len(before.question)


def test_a_truncated_context_is_the_end_of_the_question() -> None:
    for before, after in asked("truncated-context", count=20):
        assert before.question.split()[-1] == after.question.split()[-1]
        assert len(after.question.split()) <= max(1, len(before.question.split()) // 3)


@pytest.mark.parametrize("adapter", TASKS)
def test_german_questions_are_many_and_none_is_known(adapter: str) -> None:
    found = {after.question for _, after in asked("other-language", adapter=adapter)}
    assert len(found) > 40
    assert not found & {pair.prompt for pair in pairs(adapter)}


@pytest.mark.parametrize("adapter", TASKS)
def test_a_shifted_mix_asks_known_questions_of_few_kinds(adapter: str) -> None:
    kind = {pair.prompt: pair.kind for pair in task(adapter).live}
    before = Counter(kind[one.question] for one, _ in asked("mix-shift", adapter=adapter))
    after = Counter(kind[one.question] for _, one in asked("mix-shift", adapter=adapter))
    assert len(after) < len(before)


def test_three_bots_repeat_three_questions() -> None:
    bots = [after for _, after in asked("bots") if after.user.startswith("bot-")]
    assert 0.4 < len(bots) / MANY < 0.6
    assert {one.user for one in bots} == {"bot-0", "bot-1", "bot-2"}
    assert len({one.question for one in bots}) == 3


def test_a_heavy_user_makes_six_of_ten_requests() -> None:
    users = Counter(after.user for _, after in asked("heavy-user"))
    assert users["heavy-user"] / MANY == pytest.approx(0.6, abs=0.08)
    assert users["heavy-user"] > 10 * sorted(users.values())[-2]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("temperature", "temperature", 1.3),
        ("max-tokens", "max_tokens", 6),
        ("stop-words", "stop", ["."]),
    ],
)
def test_clients_change_one_setting(name: str, field: str, value: object) -> None:
    for before, after in asked(name, count=3):
        assert after.body == {**before.body, field: value}
        assert after.messages == before.messages


def test_clients_send_twice_or_hang_up() -> None:
    assert {after.times for _, after in asked("retries", count=3)} == {2}
    assert all((after.patience_s or 9) < 3 for _, after in asked("timeouts", count=3))


def test_harmless_clients_ask_what_they_asked() -> None:
    for name in ("load", "day-and-night", "sampling-seed"):
        for before, after in asked(name, count=5):
            assert (after.messages, after.user) == (before.messages, before.user)
    seeds = [after.body["seed"] for _, after in asked("sampling-seed", count=5)]
    assert len(set(seeds)) == 5
    assert OF_CLIENTS["load"].pace(0) == 10
    swing = [OF_CLIENTS["day-and-night"].pace(n) for n in range(120)]
    assert min(swing) == pytest.approx(1 / 3, rel=0.01)
    assert max(swing) == pytest.approx(3, rel=0.01)
