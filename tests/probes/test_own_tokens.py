from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.probes.own_tokens import answer_span, number_fault, spelling_fault
from monitor.probes.prompt_logprobs import TextScore

TEXT = "The quick brown fox jumps over the lazy dog, again and again, until the evening comes."


@given(st.text(), st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_of_a_text_into_tokens_spells_it(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    assert spelling_fault(pieces, text) is None


@given(st.text(alphabet="abc é日本語", min_size=1, max_size=80))
def test_tokens_that_split_characters_spell_the_text(text: str) -> None:
    # one token a byte: the bytes of é and 語 are no characters of their own
    pieces = [bytes([byte]).decode("utf-8", "replace") for byte in text.encode()]
    assert spelling_fault(pieces, text) is None


@pytest.mark.parametrize(
    "shown",
    [
        [" quick", *TEXT[9:]],  # the first token is never told
        ["\u2581quick", TEXT[9:].replace(" ", "\u2581")],  # the vocabulary's own space
        ["\u0120quick", TEXT[9:].replace(" ", "\u0120")],
        [TEXT, "</s>"],  # added by the tokenizer
        ["<sop>", TEXT],
    ],
)
def test_what_tokenizers_do_to_a_text_is_no_fault(shown: list[str]) -> None:
    assert spelling_fault(shown, TEXT) is None


@pytest.mark.parametrize(
    "shown",
    [
        ["\n", TEXT, "<|end|>", "\n", "<|assistant|>"],
        ["user", ":", TEXT],
        [TEXT, " Assistant:"],
        [TEXT[:-1]],
        [TEXT[:20]],
        [TEXT.replace("fox", "cat")],
        ["Sorry, I cannot help with that."],
        [],
        ["\ufffd" * 3, TEXT[40:].replace("evening", "morning")],
    ],
)
def test_another_text_is_told_without_quoting_either(shown: list[str]) -> None:
    fault = spelling_fault(shown, TEXT)
    assert fault is not None
    assert not {"fox", "cat", "Sorry", "evening"} & set(fault.split())


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Zs", "Cc"]), min_size=130))
def test_a_text_cut_to_a_third_is_another_text(text: str) -> None:
    fault = spelling_fault([text[: len(text) // 3]], text)
    # a text that repeats itself may end as it begins
    assert fault is not None or text.endswith(text[: len(text) // 3])


def test_unknown_characters_stand_for_few() -> None:
    assert spelling_fault(["\ufffd", " the evening comes."], TEXT) is None
    long = TEXT * 3
    assert spelling_fault(["\ufffd", " the evening comes."], long) is not None


@pytest.mark.parametrize(
    ("sum_nll", "tokens", "wrong"),
    [
        (120.0, 60, False),
        (0.0, 60, False),
        (29.9 * 4, 4, False),
        (120.0, 4, True),
        (-1.0, 4, True),
        (float("nan"), 0, True),
        (float("inf"), 4, True),
    ],
)
def test_a_likelihood_is_finite_and_below_thirty_nats(
    sum_nll: float, tokens: int, *, wrong: bool
) -> None:
    fault = number_fault(TextScore(sum_nll=sum_nll, tokens=tokens, non_finite=0))
    assert (fault is not None) == wrong


@pytest.mark.parametrize(
    ("shown", "text", "answer", "tokens"),
    [
        (["?", *["\ufffd"] * 6], "q?学学", "学学", 6),
        ([" q", "?", " ", "\ufffd", "\ufffd", "\ufffd", " ok", "</s>"], "a q? 学 ok", " 学 ok", 5),
        (["ow", "?", " cafe", "\u0301", "."], "how? cafe\u0301.", " cafe\u0301.", 3),
        (["A", ":", " yes"], "Q?A: yes", "yes", 1),
        ([" b", "\n", "\n", "c"], "a b\n\nc", "\n\nc", 3),
        ([" b", " \n", "c"], "a b \nc", "c", 1),
        (["Ġit", "Ġred", "?", "ĠYes"], "Is it red? Yes", " Yes", 1),
    ],
)
def test_the_tokens_of_an_answer_are_found_by_what_they_spell(
    shown: list[str], text: str, answer: str, tokens: int
) -> None:
    found = answer_span(shown, text, len(text) - len(answer))
    end = len(shown) - (shown[-1] == "</s>")
    assert found == slice(end - tokens, end)
