import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.capture.subjects import digest
from monitor.capture.terms import HASH_BYTES, MOST_TERMS, TermHashes, terms_of

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Where is my card?", {"where", "is", "my", "card", "where is", "is my", "my card"}),
        ("It\u2019s late. Pay now!", {"it's", "late", "it's late", "pay", "now", "pay now"}),
        ("re-open; ACCOUNT", {"re", "open", "re open", "account"}),
        ("¿Dónde está «mi tarjeta»?", {"dónde", "está", "mi", "tarjeta"}),
        ("मुझे नया कार्ड", {"मुझे", "नया", "कार्ड", "मुझे नया", "नया कार्ड"}),
        ("إلغاء البطاقة؟", {"إلغاء", "البطاقة", "إلغاء البطاقة"}),
        ("我的卡丢了3天", {"我的", "的卡", "卡丢", "丢了"}),
        ("in\u00advisible zero\u200bwidth", {"invisible", "zerowidth"}),
    ],
)
def test_words_are_found_in_any_language(text: str, words: set[str]) -> None:
    assert words <= terms_of(text)
    assert terms_of(text).issubset(words | {each for each in terms_of(text) if " " in each})


@pytest.mark.parametrize(
    "text",
    [
        "12 345 3pm A12B x_y v1.2.3",
        "ann@example.org a@\u200bb.org \uff41\uff20\uff42.org",
        "https://evil.test/reset?token=abc www.evil.test /etc/passwd C:\\temp",
        "john.smith aXbYcZdEfG user_name a#tag <b> {x}",
        "[email] [card] [secret]",
        "I a \U0001f600 \u202e \x1b[31m",
        "abcdefghijklmnopqrstuvwxyz",
        "",
    ],
)
def test_numbers_addresses_and_ids_are_no_words(text: str) -> None:
    assert terms_of(text) == set()


def test_nothing_is_paired_across_what_was_left_out_or_a_sentence() -> None:
    found = terms_of("card 4711 lost. money gone [card] now")
    assert {each for each in found if " " in each} == {"money gone"}


def test_what_is_masked_is_never_read() -> None:
    said = "my password: hunter22! and key sk-proj_abcdefghijklmnop123, IBAN DE89370400440532013000"
    words = set(TermHashes(key=KEY)(said).values())
    assert {"password", "and", "key", "iban"} <= words
    assert not any("hunter" in word or "proj" in word or word == "de" for word in words)


def test_full_width_writing_hides_nothing_from_the_mask() -> None:
    """NFKC comes first: these are an address and a card to whoever reads them."""
    said = "\uff41\uff4e\uff4e\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.org lost"
    assert set(TermHashes(key=KEY)(said).values()) == {"lost"}


def test_hashes_need_the_key_and_are_none_of_a_subjects() -> None:
    (term,) = TermHashes(key=KEY)("card")
    assert len(term) == HASH_BYTES
    assert term != next(iter(TermHashes(key=b"j" * 32)("card")))
    assert term != digest(KEY, "card")


def test_of_a_long_text_the_same_terms_are_kept_as_of_another() -> None:
    """A term is kept or not by its hash: what two long texts share, both keep or both drop."""
    hashes = TermHashes(key=KEY)
    alphabet = "abcdefghijklmnopqrst"
    shared = [f"{a}{b}" for a in alphabet for b in alphabet][:200]
    one, two = hashes(" . ".join(shared)), hashes(" . ".join(reversed(shared)))
    assert list(one) == list(two) == sorted(one)
    assert len(one) == MOST_TERMS


@given(text=st.text(max_size=300))
def test_no_text_makes_a_term_that_could_harm_whoever_reads_it(text: str) -> None:
    for term in TermHashes(key=KEY)(text).values():
        assert 2 <= len(term) <= 49
        assert all(c.isalpha() or c in "' " or unicodedata.category(c)[0] == "M" for c in term), (
            term
        )
