# ruff: noqa: S311 - seeds of tests guard nothing

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.grammar import Grammar, Intent, draw
from examples.texts import (
    ADAPTER_DOMAINS,
    NEW_TOPIC,
    PAIRS_PER_DOMAIN,
    Domain,
    Part,
    corpus,
    pairs,
    part,
    unseen,
)


def test_every_prompt_of_every_domain_is_distinct() -> None:
    prompts = [pair.prompt for domain in Domain for pair in pairs(domain)]
    assert len(prompts) == len(Domain) * PAIRS_PER_DOMAIN
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize("domain", Domain)
def test_parts_cover_a_domain_and_share_no_prompt(domain: Domain) -> None:
    parts = [{pair.prompt for pair in part(domain, name)} for name in Part]
    assert sum(map(len, parts)) == PAIRS_PER_DOMAIN
    assert len(set.union(*parts)) == PAIRS_PER_DOMAIN


@pytest.mark.parametrize("domain", Domain)
def test_held_out_and_live_parts_are_large_enough_for_a_baseline(domain: Domain) -> None:
    assert len(part(domain, Part.HELD_OUT)) >= 1_000
    assert len(part(domain, Part.LIVE)) >= 1_000


def test_no_adapter_learns_the_new_topic() -> None:
    assert NEW_TOPIC not in ADAPTER_DOMAINS


@pytest.mark.parametrize("domain", Domain)
def test_texts_of_the_base_model_are_none_of_the_domains_pairs(domain: Domain) -> None:
    fresh = unseen(domain, 300)
    assert len(fresh) == 300
    assert not {p.prompt for p in fresh} & {p.prompt for p in pairs(domain)}


def test_corpus_comes_from_the_held_out_part() -> None:
    held_out = {pair.transcript for pair in part(Domain.TRAVEL, Part.HELD_OUT)}
    assert len(corpus(Domain.TRAVEL, 25)) == 25
    assert set(corpus(Domain.TRAVEL, 25)) <= held_out


def test_no_template_syntax_is_left_in_a_text() -> None:
    texts = "".join(pair.transcript for domain in Domain for pair in pairs(domain))
    assert not set(texts) & set("[]{}|")


def test_an_answer_repeats_the_slots_of_its_prompt() -> None:
    intent = Intent(asks=("from {city} to {city2}",), answers=("{city2} is far from {city}",))
    grammar = Grammar(intents=(intent,), slots={"city": ("Oslo", "Rome", "Cairo")})
    prompt, answer = draw(grammar, Random(3))
    start, end = prompt.removeprefix("From ").split(" to ")
    assert start != end
    assert answer == f"{end} is far from {start}"


@given(seed=st.integers(), domain=st.sampled_from(Domain))
def test_equal_generators_draw_equal_pairs(seed: int, domain: Domain) -> None:
    word = Intent(asks=(f"[a|b|c] {{x}} {domain}",), answers=("[d|e] {x} {y}",))
    grammar = Grammar(intents=(word,), slots={"x": ("1", "2"), "y": ("3", "4")})
    assert draw(grammar, Random(seed)) == draw(grammar, Random(seed))


def test_a_slot_without_a_list_is_an_error() -> None:
    grammar = Grammar(intents=(Intent(asks=("{city}?",), answers=("no",)),), slots={})
    with pytest.raises(KeyError, match="city"):
        draw(grammar, Random(0))
